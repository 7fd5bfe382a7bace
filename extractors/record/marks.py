"""The ledger's marks: which run has taken which document, so that runs at the same time pay for each once.

A mark stays beyond its run's end while a run that began before may still come to the document: it was not in the tables
when that run looked at what is done.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from extractors.record.books import MARKS, RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.model import Terms
    from extractors.record.database import Database

Claim = Literal["ours", "done", "theirs"]
BATCH = 5_000  # marks asked for at once: a statement has a limited number of parameters
Name = tuple[str, str | None]  # a document and its version


@dataclass(frozen=True, slots=True)
class Marks:
    """The documents that runs have taken."""

    database: Database

    def claim(self, terms: Terms, names: Sequence[Name]) -> list[Claim]:
        """Takes these documents for a run: each is ours, or done by a run since ours began, or another's who is at it."""
        marks = [_mark(terms, name) for name in names]
        with self.database.writing() as connection:
            new = self.database.insert(MARKS).on_conflict_do_nothing()
            connection.execute(new, [{"mark": mark, "run": terms.run} for mark in marks])
            owners: dict[int, str] = {}
            for start in range(0, len(marks), BATCH):
                query = sa.select(MARKS.c.mark, MARKS.c.run).where(MARKS.c.mark.in_(marks[start : start + BATCH]))
                owners |= {row.mark: row.run for row in connection.execute(query)}
            others = {owner for owner in owners.values() if owner != terms.run}
            query = sa.select(RUNS.c.run).where(RUNS.c.run.in_(others), RUNS.c.published_at.is_not(None))
            done = set(connection.execute(query).scalars()) if others else set()
        return [_claim(owners[mark], terms.run, done) for mark in marks]

    def keep(self, terms: Terms, names: Sequence[Name]) -> None:
        """The run ended with these documents and with no other that it has taken."""
        marks = [{"mark": _mark(terms, name), "run": terms.run} for name in names]
        with self.database.writing() as connection:
            connection.execute(MARKS.delete().where(MARKS.c.run == terms.run))
            if marks:
                connection.execute(self.database.insert(MARKS).on_conflict_do_nothing(), marks)

    def free(self, terms: Terms, names: Sequence[Name]) -> None:
        """The run did not end with these documents: whoever comes next may take them."""
        marks = [{"_mark": _mark(terms, name), "_run": terms.run} for name in names]
        if marks:
            one = MARKS.delete().where(MARKS.c.mark == sa.bindparam("_mark"), MARKS.c.run == sa.bindparam("_run"))
            with self.database.writing() as connection:
                connection.execute(one, marks)


def _claim(owner: str, run: str, done: set[str]) -> Claim:
    if owner == run:
        return "ours"
    return "done" if owner in done else "theirs"


def _mark(terms: Terms, name: Name) -> int:
    """A document's version under an output, read with a schema, as 64 bits: of a billion no two are likely the same."""
    document, version = name
    said = "\0".join((terms.output, terms.schema, document, version or "")).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big", signed=True)
