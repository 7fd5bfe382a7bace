"""The ledger's shards: parts of a run, each leased by the process that works on it, and how each attempt ended."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from extractors.core.call_counts import CallCounts
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
_RELEASED_LEASE = {"host": RELEASED, "lease_until": 0.0}  # of an attempt that has ended


@dataclass(frozen=True, slots=True)
class ShardAttempt:
    """One attempt at a shard. `status` is None until it has reported its end; `live`: its process still runs.

    `accepted` and `failed` count its documents so far, without earlier attempts; `skipped` documents were done by another
    run since this run began. `calls` counts its calls so far, without their cost, and `kinds` its failed documents.
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
    calls: CallCounts = field(default_factory=CallCounts)
    kinds: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of all runs."""

    database: Database

    def begin(self, run: str, number: int, writer: int) -> tuple[ShardAttempt, list[ShardAttempt]]:
        """Start an attempt at a shard, leased by this process; returns it and the earlier attempts, which are expired.

        Raises LedgerError when another process works on the shard, or the run starts no more shards.
        """
        with self.database.writing() as connection:
            parent = connection.execute(sa.select(RUNS).where(RUNS.c.run == run).with_for_update()).one_or_none()
            if parent is None or parent.stopping or parent.published_at is not None:
                raise LedgerError(f"run {run} starts no more shards: it is stopping, or has ended")
            earlier = self._load_attempts(connection, run, number)
            if any(each.status is None and each.live for each in earlier):
                raise LedgerError(f"shard {number} of run {run} is in progress in another process")
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
        """Renew the lease and store the progress. `lost`: the run has ended, or this attempt was replaced.

        `stop` also when the parent process has ended: the run is recovered only after its shards have ended.
        """
        owner = current_process()
        with self.database.writing() as connection:
            until = self.database.clock(connection) + LEASE_SECONDS
            ours = _is_attempt(shard) & (SHARDS.c.host == owner.host) & SHARDS.c.status.is_(None)
            counts = {"accepted": shard.accepted, "failed": shard.failed, "progress": _dump_progress(shard)}
            update = SHARDS.update().where(ours).values(lease_until=until, **counts)
            renewed = connection.execute(update).rowcount
            run = connection.execute(sa.select(RUNS).where(RUNS.c.run == shard.run)).one_or_none()
            if not renewed or run is None or run.published_at is not None:
                return "lost"
            return "stop" if run.stopping or not is_live(run, until - LEASE_SECONDS) else "go on"

    def finish(self, shard: ShardAttempt) -> None:
        """Store how the attempt ended."""
        ended = {
            "status": shard.status,
            "message": shard.message,
            "warnings": json.dumps(shard.warnings),
            "accepted": shard.accepted,
            "failed": shard.failed,
            "skipped": shard.skipped,
            "progress": _dump_progress(shard),
            "host": RELEASED,
        }
        with self.database.writing() as connection:
            _expire_attempt(connection, shard)
            connection.execute(SHARDS.update().where(_is_attempt(shard)).values(ended))

    def expire(self, shard: ShardAttempt) -> None:
        """Expire an attempt that has not reported its end: its process, if it still runs, gets `lost`."""
        with self.database.writing() as connection:
            _expire_attempt(connection, shard)

    def request_stop(self, run: str) -> None:
        """Ask every shard of the run to stop."""
        with self.database.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(stopping=True))

    def release_all(self, run: str) -> None:
        """Expire all running attempts and start no new ones; running processes stop at their next heartbeat."""
        with self.database.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(stopping=True))
            connection.execute(SHARDS.update().where(_is_running(run)).values(_RELEASED_LEASE))

    def held_usd(self, run: str) -> Decimal:
        """The dollars held by the run: the cost of its calls, or their reservation."""
        with self.database.reading() as connection:
            query = sa.select(RUNS.c.held_nano).where(RUNS.c.run == run)
            return from_nano(connection.execute(query).scalar_one_or_none() or 0)

    def list_attempts(self, run: str) -> list[ShardAttempt]:
        """All attempts at all shards of a run, in order."""
        with self.database.reading() as connection:
            return self._load_attempts(connection, run)

    def _load_attempts(self, connection: sa.Connection, run: str, number: int | None = None) -> list[ShardAttempt]:
        query = sa.select(SHARDS).where(SHARDS.c.run == run).order_by(SHARDS.c.number, SHARDS.c.attempt)
        if number is not None:
            query = query.where(SHARDS.c.number == number)
        now = self.database.clock(connection)
        return [_attempt_of(row, live=is_live(row, now)) for row in connection.execute(query).all()]


def _expire_attempt(connection: sa.Connection, shard: ShardAttempt) -> None:
    """Expire an attempt and mark its calls in flight as lost.

    The reservations of those calls are never freed, so no budget waits for them.
    """
    connection.execute(SHARDS.update().where(_is_attempt(shard) & _is_running(shard.run)).values(_RELEASED_LEASE))
    in_flight = (CALLS.c.run == shard.run) & (CALLS.c.writer == shard.writer) & CALLS.c.outcome.is_(None)
    connection.execute(CALLS.update().where(in_flight).values(LOST))


def _is_running(run: str) -> sa.ColumnElement[bool]:
    return (SHARDS.c.run == run) & SHARDS.c.status.is_(None)


def _is_attempt(shard: ShardAttempt) -> sa.ColumnElement[bool]:
    return (SHARDS.c.run == shard.run) & (SHARDS.c.number == shard.number) & (SHARDS.c.attempt == shard.attempt)


def _dump_progress(shard: ShardAttempt) -> str:
    calls = shard.calls
    counts = {"calls": calls.calls, "retries": calls.retries, "refusals": calls.refusals}
    return json.dumps(counts | {"failures": calls.failures, "kinds": shard.kinds})


def _attempt_of(row: sa.Row[tuple[object, ...]], *, live: bool) -> ShardAttempt:
    warnings: Sequence[str] = json.loads(row.warnings)
    progress = json.loads(row.progress)
    counts = {name: progress.get(name, 0) for name in ("calls", "retries", "refusals")}
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
        calls=CallCounts(**counts, failures=Counter(progress.get("failures"))),
        kinds=Counter(progress.get("kinds")),
    )
