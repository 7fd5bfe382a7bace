"""The ledger's marks: which run has taken which document, so that runs at the same time pay for each once.

A mark stays beyond its run's end while a run that began before may still come to the document: it was not in the tables
when that run looked at what is done.
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
BATCH_MARKS = 5_000  # marks asked for at once: a statement has a limited number of parameters


@dataclass(frozen=True, slots=True)
class Claims:
    """The documents that runs have taken."""

    database: Database

    def claim(self, run_info: RunInfo, documents: Sequence[Planned]) -> list[Claim]:
        """Takes these documents for a run: each is ours, or done by a run since ours began, or another's who is at it."""
        plans = {_mark_of(run_info, each.name): dump_plan(each) for each in documents}
        owners: dict[int, str] = {}
        with self.database.writing() as connection:
            for batch in _split_batches(plans):
                owners |= self._take_marks(connection, run_info, {mark: plans[mark] for mark in batch})
            query = sa.select(RUNS.c.run).where(RUNS.c.published_at >= run_info.started_at.isoformat())
            done = set(connection.execute(query).scalars())
        return [_classify_claim(owners.get(_mark_of(run_info, each.name)), run_info.run, done) for each in documents]

    def load_plans(self, run: str) -> list[Planned]:
        """The documents that a run has taken and not published. Those that another version had planned are left out."""
        query = sa.select(MARKS.c.plan).where(MARKS.c.run == run, MARKS.c.plan.is_not(None))
        with self.database.reading() as connection:
            texts = connection.execute(query).scalars().all()
        plans: list[Planned] = []
        for text in texts:
            with suppress(ValueError, KeyError, TypeError):
                plans.append(load_plan(text))
        return plans

    def mark_published(self, run_info: RunInfo, ahead: Sequence[Planned]) -> None:
        """What the run has taken is published, but for the documents that it has pulled ahead: plans are done with."""
        one = MARKS.update().where(MARKS.c.mark == sa.bindparam("_mark"))
        with self.database.writing() as connection:
            connection.execute(MARKS.update().where(MARKS.c.run == run_info.run).values(plan=None))
            if ahead:
                connection.execute(
                    one, [{"_mark": _mark_of(run_info, each.name), "plan": dump_plan(each)} for each in ahead]
                )

    def release(self, run_info: RunInfo, names: Collection[Name]) -> None:
        """The run did not end with these documents: whoever comes next may take them."""
        with self.database.writing() as connection:
            for batch in _split_batches(_mark_of(run_info, name) for name in names):
                connection.execute(MARKS.delete().where(MARKS.c.run == run_info.run, MARKS.c.mark.in_(batch)))

    def keep_only(self, run_info: RunInfo, names: Collection[Name]) -> None:
        """The run came to an end with these documents alone: whoever comes next may take all others that it had."""
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
        """Which run has each mark, after this one has taken those that are nobody's or of runs that ended before it."""
        these = MARKS.c.mark.in_(plans)
        before = sa.select(RUNS.c.run).where(RUNS.c.published_at < run_info.started_at.isoformat())
        connection.execute(MARKS.delete().where(these, MARKS.c.run.in_(before)))
        new = self.database.insert(MARKS).on_conflict_do_nothing()
        connection.execute(new, [{"mark": mark, "run": run_info.run, "plan": plan} for mark, plan in plans.items()])
        found = connection.execute(sa.select(MARKS.c.mark, MARKS.c.run).where(these)).all()
        return {row.mark: row.run for row in found}


def _classify_claim(owner: str | None, run: str, done: set[str]) -> Claim:
    """None: somebody freed it in this moment. The next run takes it."""
    if owner == run:
        return "ours"
    return "done" if owner in done else "theirs"


def _split_batches(marks: Iterable[int]) -> Iterator[list[int]]:
    """As many as fit into a statement, in one order for all runs: two that take the same ones never wait in a ring."""
    ordered = sorted(set(marks))
    return (ordered[first : first + BATCH_MARKS] for first in range(0, len(ordered), BATCH_MARKS))


def _mark_of(run_info: RunInfo, name: Name) -> int:
    """A document's version under an output, read with a schema, as 64 bits: of a billion no two are likely the same."""
    document, version = name
    said = "\0".join((run_info.output, run_info.schema, document, version or "")).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big", signed=True)
