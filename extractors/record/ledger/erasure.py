"""Erasure: the ledger without the names of documents that are to be forgotten; amounts stay.

A document in flight in a live run is not erased: that run would publish it afterwards.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from extractors.core.errors import ConfigurationError
from extractors.record.ledger.plan_json import load_plan
from extractors.record.ledger.runs import has_live_shards, is_live
from extractors.record.ledger.schema import CALLS, MARKS, NO_REPLY, RUNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from extractors.core import Planned
    from extractors.record.ledger.database import Database

_BLANK = {"document": "", "key": "", "request": "", "sha256": "", "error": None} | NO_REPLY


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is to be forgotten under one output: the names given, of documents and of their pages, and their runs.

    `planned`: a stored plan holds one of them.
    """

    output: str
    names: frozenset[str]
    runs: frozenset[str] = frozenset()
    planned: bool = False

    def covers(self, name: str) -> bool:
        """Whether this document or page is to be forgotten; a file covers its pages, `file.pdf#page=3`."""
        return name in self.names or name.rpartition("#page=")[0] in self.names

    def covers_any(self, planned: Planned) -> bool:
        """Whether a planned document or one of its pages is to be forgotten."""
        pages = (page.billed.found for page in planned.pages)
        return self.covers(planned.document) or any(self.covers(each.uri) or self.covers(each.name) for each in pages)


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases documents of one output from the ledger."""

    database: Database

    def check(self, forgotten: Forgotten) -> None:
        """Raise ConfigurationError when a live run has one of these documents in flight or in a published volume."""
        with self.database.reading() as connection:
            self._check(connection, forgotten)

    def erase(self, forgotten: Forgotten) -> int:
        """Blank the names in calls and runs, and drop replies and claims; returns the number of calls.

        Raises ConfigurationError as `check` does, and changes nothing then.
        """
        runs = sa.select(RUNS.c.run).where(RUNS.c.output == forgotten.output)
        with self.database.writing() as connection:
            self._check(connection, forgotten)
            calls = CALLS.c.run.in_(runs) & _is_covered(CALLS.c.document, forgotten)
            touched = set(connection.execute(sa.select(CALLS.c.run).distinct().where(calls)).scalars())
            erased = connection.execute(CALLS.update().where(calls).values(_BLANK)).rowcount
            replies = sa.select(sa.func.count()).where(CALLS.c.run == RUNS.c.run, CALLS.c.reply.is_not(None))
            givers = RUNS.c.run.in_(touched) & (RUNS.c.orphaned_replies > 0)
            connection.execute(RUNS.update().where(givers).values(orphaned_replies=replies.scalar_subquery()))
            of_output = (RUNS.c.output == forgotten.output) & _is_covered(RUNS.c.source, forgotten)
            connection.execute(RUNS.update().where(of_output).values(source="", job="{}"))
            for mark, planned in _iter_plans(connection, runs):
                if forgotten.covers_any(planned):
                    connection.execute(MARKS.delete().where(MARKS.c.mark == mark))
            idle = not _has_live_runs(connection, self.database.clock(connection))
        if idle:  # it locks out other processes for the time of a copy
            self.database.purge()
        return erased

    def _check(self, connection: sa.Connection, forgotten: Forgotten) -> None:
        query = sa.select(RUNS).where(RUNS.c.output == forgotten.output, RUNS.c.published_at.is_(None))
        now = self.database.clock(connection)
        for row in connection.execute(query.order_by(RUNS.c.run)).all():
            if (is_live(row, now) or has_live_shards(connection, row.run, now)) and (
                row.run in forgotten.runs
                or (forgotten.planned and row.flow == "apply")
                or _has_in_flight(connection, row.run, forgotten)
            ):
                named = ", ".join(sorted(forgotten.names))
                raise ConfigurationError(
                    f"run {row.run} is reading {named} now: nothing was forgotten; run it again when that run has ended,"
                    " or stop that run first"
                )


def _has_live_runs(connection: sa.Connection, now: float) -> bool:
    rows = connection.execute(sa.select(RUNS).where(RUNS.c.published_at.is_(None))).all()
    return any(is_live(row, now) for row in rows)


def _has_in_flight(connection: sa.Connection, run: str, forgotten: Forgotten) -> bool:
    """Whether a run has claimed or called one of these documents, and has not published it."""
    called = (CALLS.c.run == run) & CALLS.c.volume.is_(None) & _is_covered(CALLS.c.document, forgotten)
    if connection.execute(sa.select(CALLS.c.run).where(called)).first() is not None:
        return True
    plans = _iter_plans(connection, sa.select(sa.literal(run)))
    return any(forgotten.covers_any(planned) for _, planned in plans)


def _iter_plans(connection: sa.Connection, runs: sa.Select[tuple[str]]) -> Iterator[tuple[int, Planned]]:
    """The claims of these runs whose plans can be read, with their plans."""
    query = sa.select(MARKS.c.mark, MARKS.c.plan).where(MARKS.c.run.in_(runs), MARKS.c.plan.is_not(None))
    for mark, text in connection.execute(query).all():
        with suppress(ValueError, KeyError, TypeError):  # a plan of another version
            yield mark, load_plan(text)


def _is_covered(column: sa.ColumnElement[str], forgotten: Forgotten) -> sa.ColumnElement[bool]:
    names: Collection[str] = sorted(forgotten.names)
    pages = (column.startswith(f"{name}#page=", autoescape=True) for name in names)
    return sa.or_(column.in_(names), *pages)
