"""The ledger's shards: pieces of a run, each leased by the process that works on it, and how each try at one ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from extractors.errors import LedgerError
from extractors.record.ledger.books import RUNS, SHARDS
from extractors.record.ledger.owner import LEASE_SECONDS, this_process
from extractors.record.ledger.runs import RELEASED, is_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.record.ledger.database import Database

COMPLETED = "completed"
Told = Literal["go on", "stop", "lost"]


@dataclass(frozen=True, slots=True)
class Try:
    """One try at a shard. `status` is None while it has not said how it ended; `live`: its process is there."""

    run: str
    number: int
    attempt: int
    writer: int
    status: str | None = None
    message: str = ""
    warnings: tuple[str, ...] = ()
    accepted: int = 0
    failed: int = 0
    live: bool = True


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of all runs."""

    database: Database

    def begin(self, run: str, number: int, writer: int) -> tuple[Try, list[Try]]:
        """A try at a shard, leased by this process, and the tries before it.

        Raises LedgerError when another process works on it.
        """
        with self.database.writing() as connection:
            connection.execute(sa.select(RUNS.c.run).where(RUNS.c.run == run).with_for_update())
            earlier = self._tries(connection, run, number)
            if any(each.status is None and each.live for each in earlier):
                raise LedgerError(f"shard {number} of run {run} is worked on by another process")
            new = Try(run, number, len(earlier), writer)
            owner, until = this_process(), self.database.clock(connection) + LEASE_SECONDS
            connection.execute(
                SHARDS.insert(),
                {
                    "run": run,
                    "number": number,
                    "attempt": new.attempt,
                    "writer": writer,
                    "host": owner.host,
                    "pid": owner.pid,
                    "born": owner.born,
                    "lease_until": until,
                },
            )
        return new, earlier

    def beat(self, shard: Try) -> Told:
        """Renews the lease; what the run says: `lost` where it has ended, or goes on without this try.

        Where its parent has gone it is to stop: nobody takes the run over before its shards have ended.
        """
        owner = this_process()
        with self.database.writing() as connection:
            until = self.database.clock(connection) + LEASE_SECONDS
            mine = _this(shard) & (SHARDS.c.host == owner.host) & SHARDS.c.status.is_(None)
            renewed = connection.execute(SHARDS.update().where(mine).values(lease_until=until)).rowcount
            run = connection.execute(sa.select(RUNS).where(RUNS.c.run == shard.run)).one_or_none()
            if not renewed or run is None or run.published_at is not None:
                return "lost"
            return "stop" if run.stopping or not is_live(run, until - LEASE_SECONDS) else "go on"

    def finish(self, shard: Try) -> None:
        """The try has ended, as it says."""
        ended = {
            "status": shard.status,
            "message": shard.message,
            "warnings": json.dumps(shard.warnings),
            "accepted": shard.accepted,
            "failed": shard.failed,
            "host": RELEASED,
        }
        with self.database.writing() as connection:
            connection.execute(SHARDS.update().where(_this(shard)).values(ended))

    def tell(self, run: str) -> None:
        """Every shard of the run is to stop."""
        with self.database.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(stopping=True))

    def dismiss(self, run: str) -> None:
        """The run goes on without the tries that have not ended: each stops when it hears of it."""
        with self.database.writing() as connection:
            open_ones = (SHARDS.c.run == run) & SHARDS.c.status.is_(None)
            connection.execute(SHARDS.update().where(open_ones).values(host=RELEASED, lease_until=0.0))

    def tries(self, run: str) -> list[Try]:
        """Every try at every shard of a run, in order."""
        with self.database.reading() as connection:
            return self._tries(connection, run)

    def _tries(self, connection: sa.Connection, run: str, number: int | None = None) -> list[Try]:
        query = sa.select(SHARDS).where(SHARDS.c.run == run).order_by(SHARDS.c.number, SHARDS.c.attempt)
        if number is not None:
            query = query.where(SHARDS.c.number == number)
        now = self.database.clock(connection)
        return [_try(row, live=is_live(row, now)) for row in connection.execute(query).all()]


def _this(shard: Try) -> sa.ColumnElement[bool]:
    return (SHARDS.c.run == shard.run) & (SHARDS.c.number == shard.number) & (SHARDS.c.attempt == shard.attempt)


def _try(row: sa.Row[tuple[object, ...]], *, live: bool) -> Try:
    warnings: Sequence[str] = json.loads(row.warnings)
    return Try(
        run=row.run,
        number=row.number,
        attempt=row.attempt,
        writer=row.writer,
        status=row.status,
        message=row.message or "",
        warnings=tuple(warnings),
        accepted=row.accepted,
        failed=row.failed,
        live=live,
    )
