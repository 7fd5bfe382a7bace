"""Upgrade the ledger's schema when it is opened: one step per version, all in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateTable

from extractors.core.errors import ConfigurationError
from extractors.record.ledger.schema import (
    ANSWERS,
    CALLS,
    DAYS,
    METADATA,
    OPEN_CALLS,
    RUNS,
    SHARDS,
    select_accepted_sums,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = sa.Table("ledger_version", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))


def upgrade(connection: sa.Connection) -> None:
    """Create or upgrade the tables, in a transaction that locks out others. Raises ConfigurationError if it is newer."""
    current = _read_version(connection)
    if current == NEWEST:
        return
    if current > NEWEST:
        raise ConfigurationError(
            f"it has version {current}, and this tilewise supports versions up to {NEWEST}: update tilewise"
        )
    if current:
        for version in range(current + 1, NEWEST + 1):
            _STEPS[version](connection)
    METADATA.create_all(connection)
    connection.execute(VERSION.delete())
    connection.execute(VERSION.insert(), {"version": NEWEST})


def is_current(connection: sa.Connection) -> bool:
    """Whether no upgrade is needed; reads only, so it waits for no lock."""
    return _read_version(connection) == NEWEST


def _read_version(connection: sa.Connection) -> int:
    """The ledger's version: 0 for an empty database, 1 for the first version, which did not store it."""
    tables = sa.inspect(connection).get_table_names()
    if VERSION.name not in tables:
        return 1 if CALLS.name in tables else 0
    return int(connection.execute(sa.select(VERSION.c.version)).scalar_one())


def _add_leases_and_budgets(connection: sa.Connection) -> None:
    """Version 2: leases and prices of runs, all published columns of calls, sums of answers, held amounts."""
    for table in (RUNS, CALLS):
        _add_missing_columns(connection, table)
    connection.execute(OPEN_CALLS)
    # Unpublished runs of version 1 can no longer be published; their calls keep their cost.
    connection.execute(CALLS.update().where(_is_published()).values(volume=1))
    connection.execute(
        RUNS.update().where(RUNS.c.published_at.is_(None)).values(published_at=RUNS.c.started_at, volumes=0)
    )
    for table, rows in ((ANSWERS, select_accepted_sums()), (DAYS, _select_held())):
        connection.execute(CreateTable(table))
        connection.execute(table.insert().from_select(table.c.keys(), rows))


def _is_published() -> sa.ColumnElement[bool]:
    return CALLS.c.run.in_(sa.select(RUNS.c.run).where(RUNS.c.published_at.is_not(None)))


def _select_held() -> sa.Select[tuple[object, ...]]:
    """The cost of each day's calls, or their reservation where the cost is unknown."""
    day = sa.func.substr(CALLS.c.started_at, 1, 10)
    held = sa.case((CALLS.c.billed.in_(("yes", "no")), CALLS.c.cost_nano), else_=CALLS.c.reserved_nano)
    return sa.select(day, sa.func.coalesce(sa.func.sum(held), 0)).group_by(day)


def _add_missing_columns(connection: sa.Connection, table: sa.Table) -> None:
    existing = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in existing:
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")


def _add_stopping(connection: sa.Connection) -> None:
    """Version 3: runs with shards; `create_all` adds the table of shards."""
    _add_missing_columns(connection, RUNS)


def _add_skipped(connection: sa.Connection) -> None:
    """Version 4: shards count their skipped documents."""
    if SHARDS.name in sa.inspect(connection).get_table_names():  # else `create_all` makes it
        _add_missing_columns(connection, SHARDS)


def _add_output_leases(_: sa.Connection) -> None:
    """Version 5: leases on outputs, whose table `create_all` adds."""


def _add_tokens(connection: sa.Connection) -> None:
    """Version 6: calls keep the tokens of their answers; `create_all` adds the tables of tunings and refusals."""
    _add_missing_columns(connection, CALLS)


def _add_progress(connection: sa.Connection) -> None:
    """Version 7: shards count their calls and failed documents by kind."""
    if SHARDS.name in sa.inspect(connection).get_table_names():  # else `create_all` makes it
        _add_missing_columns(connection, SHARDS)


# Key: the version after the step.
_STEPS: dict[int, Callable[[sa.Connection], None]] = {
    2: _add_leases_and_budgets,
    3: _add_stopping,
    4: _add_skipped,
    5: _add_output_leases,
    6: _add_tokens,
    7: _add_progress,
}
NEWEST = max(_STEPS)
