"""Claims on documents: which run has taken which document, so that concurrent runs pay for each document once.

A claim is one row of the table `marks`. It outlives its run while another run may still reach the document that began
earlier, and so read the published tables before this document was in them.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from extractors.record.ledger.plan_json import dump_plan, load_plan
from extractors.record.ledger.schema import MARKS, RUNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from extractors.core import Name, Planned, RunInfo
    from extractors.record.ledger.database import Database

Claim = Literal["ours", "done", "theirs"]
BATCH_MARKS = 5_000  # marks per statement, whose number of parameters is limited


@dataclass(frozen=True, slots=True)
class Claims:
    """The documents claimed by runs."""

    database: Database

    def claim(self, run_info: RunInfo, documents: Sequence[Planned]) -> list[Claim]:
        """Claim these documents for a run: each is ours, done by another run since ours began, or theirs and in progress."""
        plans = {_mark_of(run_info, each.name): dump_plan(each) for each in documents}
        owners: dict[int, str] = {}
        with self.database.writing() as connection:
            for batch in _split_batches(plans):
                owners |= self._take_marks(connection, run_info, {mark: plans[mark] for mark in batch})
            query = sa.select(RUNS.c.run).where(RUNS.c.published_at >= run_info.started_at.isoformat())
            done = set(connection.execute(query).scalars())
        return [_classify_claim(owners.get(_mark_of(run_info, each.name)), run_info.run, done) for each in documents]

    def load_plans(self, run: str) -> list[Planned]:
        """The plans of the documents that a run has claimed and not published, without plans of another version."""
        query = sa.select(MARKS.c.plan).where(MARKS.c.run == run, MARKS.c.plan.is_not(None))
        with self.database.reading() as connection:
            texts = connection.execute(query).scalars().all()
        plans: list[Planned] = []
        for text in texts:
            with suppress(ValueError, KeyError, TypeError):
                plans.append(load_plan(text))
        return plans

    def mark_published(self, run_info: RunInfo, ahead: Sequence[Planned]) -> None:
        """The run's claimed documents are published, except the prefetched ones in `ahead`: drop their plans."""
        one = MARKS.update().where(MARKS.c.mark == sa.bindparam("_mark"))
        with self.database.writing() as connection:
            connection.execute(MARKS.update().where(MARKS.c.run == run_info.run).values(plan=None))
            if ahead:
                connection.execute(
                    one, [{"_mark": _mark_of(run_info, each.name), "plan": dump_plan(each)} for each in ahead]
                )

    def release(self, run_info: RunInfo, names: Collection[Name]) -> None:
        """Release documents that the run did not finish, so that another run can claim them."""
        with self.database.writing() as connection:
            for batch in _split_batches(_mark_of(run_info, name) for name in names):
                connection.execute(MARKS.delete().where(MARKS.c.run == run_info.run, MARKS.c.mark.in_(batch)))

    def keep_only(self, run_info: RunInfo, names: Collection[Name]) -> None:
        """Release all claims of the run except those on these documents, which it finished."""
        kept = [
            {"mark": mark, "run": run_info.run}
            for batch in _split_batches(_mark_of(run_info, each) for each in names)
            for mark in batch
        ]
        with self.database.writing() as connection:
            connection.execute(MARKS.delete().where(MARKS.c.run == run_info.run))
            if kept:
                connection.execute(self.database.insert(MARKS).on_conflict_do_nothing(), kept)

    def _take_marks(self, connection: sa.Connection, run_info: RunInfo, plans: Mapping[int, str]) -> dict[int, str]:
        """The owner of each mark, after this run has taken those without an owner or of runs that ended before it."""
        these = MARKS.c.mark.in_(plans)
        before = sa.select(RUNS.c.run).where(RUNS.c.published_at < run_info.started_at.isoformat())
        connection.execute(MARKS.delete().where(these, MARKS.c.run.in_(before)))
        new = self.database.insert(MARKS).on_conflict_do_nothing()
        connection.execute(new, [{"mark": mark, "run": run_info.run, "plan": plan} for mark, plan in plans.items()])
        rows = connection.execute(sa.select(MARKS.c.mark, MARKS.c.run).where(these)).all()
        return {row.mark: row.run for row in rows}


def _classify_claim(owner: str | None, run: str, done: set[str]) -> Claim:
    """The claim for the owner of a mark. None: it was released just now, and the next run takes it."""
    if owner == run:
        return "ours"
    return "done" if owner in done else "theirs"


def _split_batches(marks: Iterable[int]) -> Iterator[list[int]]:
    """Batches that fit into a statement, in the same order for all runs, so that two runs never deadlock."""
    ordered = sorted(set(marks))
    return (ordered[first : first + BATCH_MARKS] for first in range(0, len(ordered), BATCH_MARKS))


def _mark_of(run_info: RunInfo, name: Name) -> int:
    """64 bits that identify an output, a schema, a document and its version."""
    document, version = name
    identity = "\0".join((run_info.output, run_info.schema, document, version or "")).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "big", signed=True)
