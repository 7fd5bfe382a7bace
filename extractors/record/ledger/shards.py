"""The ledger's shards: pieces of a run, each leased by the process that works on it, and how each try at one ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from extractors.core.calls import LOST
from extractors.core.errors import LedgerError
from extractors.core.money import from_nano
from extractors.record.ledger.owner import LEASE_SECONDS, current_process
from extractors.record.ledger.runs import RELEASED, is_live
from extractors.record.ledger.schema import CALLS, RUNS, SHARDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from extractors.record.ledger.database import Database

COMPLETED = "completed"
ShardCommand = Literal["go on", "stop", "lost"]
_RELEASED_LEASE = {"host": RELEASED, "lease_until": 0.0}  # of a try that nobody waits for


@dataclass(frozen=True, slots=True)
class ShardAttempt:
    """One try at a shard. `status` is None while it has not said how it ended; `live`: its process is there.

    `accepted` and `failed` are its documents so far, without those of earlier tries; `skipped` were done by another run
    since its own began.
    """

    run: str
    number: int
    attempt: int
    writer: int
    status: str | None = None
    message: str = ""
    warnings: tuple[str, ...] = ()
    accepted: int = 0
    failed: int = 0
    skipped: int = 0
    live: bool = True


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of all runs."""

    database: Database

    def begin(self, run: str, number: int, writer: int) -> tuple[ShardAttempt, list[ShardAttempt]]:
        """A try at a shard, leased by this process, and the tries before it, which are over from here on.

        Raises LedgerError when another process works on it, or the run takes no shards any more.
        """
        with self.database.writing() as connection:
            parent = connection.execute(sa.select(RUNS).where(RUNS.c.run == run).with_for_update()).one_or_none()
            if parent is None or parent.stopping or parent.published_at is not None:
                raise LedgerError(f"run {run} takes no shards any more: it was told to stop, or has ended")
            earlier = self._load_attempts(connection, run, number)
            if any(each.status is None and each.live for each in earlier):
                raise LedgerError(f"shard {number} of run {run} is worked on by another process")
            for each in earlier:
                _expire_attempt(connection, each)
            new = ShardAttempt(run, number, len(earlier), writer)
            owner, until = current_process(), self.database.clock(connection) + LEASE_SECONDS
            connection.execute(
                SHARDS.insert(),
                {
                    "run": run,
                    "number": number,
                    "attempt": new.attempt,
                    "writer": writer,
                    "host": owner.host,
                    "pid": owner.pid,
                    "born": owner.started,
                    "lease_until": until,
                },
            )
        return new, earlier

    def heartbeat(self, shard: ShardAttempt) -> ShardCommand:
        """Renews the lease, and notes how far it is; what the run says: `lost` where it has ended, or goes on without it.

        Where its parent has gone it is to stop: nobody takes the run over before its shards have ended.
        """
        owner = current_process()
        with self.database.writing() as connection:
            until = self.database.clock(connection) + LEASE_SECONDS
            mine = _is_attempt(shard) & (SHARDS.c.host == owner.host) & SHARDS.c.status.is_(None)
            now = {"lease_until": until, "accepted": shard.accepted, "failed": shard.failed}
            renewed = connection.execute(SHARDS.update().where(mine).values(now)).rowcount
            run = connection.execute(sa.select(RUNS).where(RUNS.c.run == shard.run)).one_or_none()
            if not renewed or run is None or run.published_at is not None:
                return "lost"
            return "stop" if run.stopping or not is_live(run, until - LEASE_SECONDS) else "go on"

    def finish(self, shard: ShardAttempt) -> None:
        """The try has ended, as it says."""
        ended = {
            "status": shard.status,
            "message": shard.message,
            "warnings": json.dumps(shard.warnings),
            "accepted": shard.accepted,
            "failed": shard.failed,
            "skipped": shard.skipped,
            "host": RELEASED,
        }
        with self.database.writing() as connection:
            _expire_attempt(connection, shard)
            connection.execute(SHARDS.update().where(_is_attempt(shard)).values(ended))

    def expire(self, shard: ShardAttempt) -> None:
        """The try is over, without a word: should its process come back, it hears that it is lost."""
        with self.database.writing() as connection:
            _expire_attempt(connection, shard)

    def request_stop(self, run: str) -> None:
        """Every shard of the run is to stop."""
        with self.database.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(stopping=True))

    def release_all(self, run: str) -> None:
        """The run goes on without the tries that have not ended, each of which stops when it hears of it, or any new one."""
        with self.database.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(stopping=True))
            connection.execute(SHARDS.update().where(_is_running(run)).values(_RELEASED_LEASE))

    def held_usd(self, run: str) -> Decimal:
        """Dollars that the run's calls have cost, or may still cost."""
        with self.database.reading() as connection:
            query = sa.select(RUNS.c.held_nano).where(RUNS.c.run == run)
            return from_nano(connection.execute(query).scalar_one_or_none() or 0)

    def list_attempts(self, run: str) -> list[ShardAttempt]:
        """Every try at every shard of a run, in order."""
        with self.database.reading() as connection:
            return self._load_attempts(connection, run)

    def _load_attempts(self, connection: sa.Connection, run: str, number: int | None = None) -> list[ShardAttempt]:
        query = sa.select(SHARDS).where(SHARDS.c.run == run).order_by(SHARDS.c.number, SHARDS.c.attempt)
        if number is not None:
            query = query.where(SHARDS.c.number == number)
        now = self.database.clock(connection)
        return [_attempt_of(row, live=is_live(row, now)) for row in connection.execute(query).all()]


def _expire_attempt(connection: sa.Connection, shard: ShardAttempt) -> None:
    """Ends a try: one that was cut off and comes back hears that it is lost, and so is what it had on its way.

    Nothing that those calls have reserved is freed any more, so no budget is to wait for it.
    """
    connection.execute(SHARDS.update().where(_is_attempt(shard) & _is_running(shard.run)).values(_RELEASED_LEASE))
    on_its_way = (CALLS.c.run == shard.run) & (CALLS.c.writer == shard.writer) & CALLS.c.outcome.is_(None)
    connection.execute(CALLS.update().where(on_its_way).values(LOST))


def _is_running(run: str) -> sa.ColumnElement[bool]:
    return (SHARDS.c.run == run) & SHARDS.c.status.is_(None)


def _is_attempt(shard: ShardAttempt) -> sa.ColumnElement[bool]:
    return (SHARDS.c.run == shard.run) & (SHARDS.c.number == shard.number) & (SHARDS.c.attempt == shard.attempt)


def _attempt_of(row: sa.Row[tuple[object, ...]], *, live: bool) -> ShardAttempt:
    warnings: Sequence[str] = json.loads(row.warnings)
    return ShardAttempt(
        run=row.run,
        number=row.number,
        attempt=row.attempt,
        writer=row.writer,
        status=row.status,
        message=row.message or "",
        warnings=tuple(warnings),
        accepted=row.accepted,
        failed=row.failed,
        skipped=row.skipped,
        live=live,
    )
