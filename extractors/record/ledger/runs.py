"""The ledger's runs: which process works on each, how far it is, and which are abandoned.

A process leases its run and renews the lease by heartbeats. A run is abandoned when the lease was released before the
run was published, when its process has ended (seen from the same machine), or when the lease has expired without a
heartbeat (seen from another machine). A live process on the same machine keeps its run regardless of clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from extractors.core import Fingerprint, RunInfo
from extractors.core.money import Price
from extractors.record.ledger.owner import LEASE_SECONDS, Owner, current_process
from extractors.record.ledger.schema import (
    ANSWERS,
    CALLS,
    MARKS,
    NO_REPLY,
    ONE_CALL,
    RUNS,
    SHARDS,
    CallId,
    select_accepted_sums,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from extractors.record.ledger.database import Database

RELEASED = ""  # the host of a run that no process works on
KEEP_REPLY_DAYS = 30  # days that an unused reply is kept for later runs


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of an account."""

    database: Database

    def begin(self, run_info: RunInfo) -> None:
        """Add a run, leased by this process."""
        price = run_info.price
        with self.database.writing() as connection:
            row = {
                "run": run_info.run,
                "flow": run_info.flow,
                "schema": run_info.schema,
                "source": run_info.source,
                "output": run_info.output,
                "endpoint": run_info.endpoint,
                "model": run_info.model,
                "schema_hash": run_info.schema_hash,
                "prompt_hash": run_info.prompt_hash,
                "policy": run_info.policy,
                "bill_rule": run_info.bill_rule,
                "price_input": str(price.input) if price else None,
                "price_output": str(price.output) if price else None,
                "price_cached": str(price.cached) if price and price.cached is not None else None,
                "price_as_of": price.as_of.isoformat() if price and price.as_of else None,
                "job": run_info.job,
                "flow_run": run_info.flow_run,
                "started_at": run_info.started_at.isoformat(),
            }
            connection.execute(RUNS.insert(), row | self._lease(connection))

    def forget(self, run: str) -> None:
        """Delete a run that has sent nothing."""
        with self.database.writing() as connection:
            connection.execute(MARKS.delete().where(MARKS.c.run == run))
            connection.execute(RUNS.delete().where(RUNS.c.run == run))

    def release(self, run: str) -> None:
        """Release the lease; if the run is not published, the next run recovers it."""
        with self.database.writing() as connection:
            ours = (RUNS.c.run == run) & _is_owned_by(current_process())
            connection.execute(RUNS.update().where(ours).values(host=RELEASED, lease_until=0.0))

    def heartbeat(self, run: str) -> bool:
        """Renew the lease; False when another process has taken over the run."""
        with self.database.writing() as connection:
            ours = (RUNS.c.run == run) & _is_owned_by(current_process())
            return connection.execute(RUNS.update().where(ours).values(**self._lease(connection))).rowcount == 1

    def list_abandoned(self, output: str, schema: str) -> list[RunInfo]:
        """The abandoned, unpublished runs of this output and schema, the oldest first."""
        query = sa.select(RUNS).filter_by(output=output, schema=schema, published_at=None).order_by(RUNS.c.run)
        with self.database.reading() as connection:
            now = self.database.clock(connection)
            dead = [row for row in connection.execute(query).all() if not is_live(row, now)]
            return [_run_info_of(row) for row in dead if not has_live_shards(connection, row.run, now)]

    def find_live(self, run: str) -> tuple[RunInfo, str] | None:
        """A live run that accepts shards, and its host; None if no live run has this id."""
        query = sa.select(RUNS).filter_by(run=run, published_at=None, stopping=False)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
            if row is None or not is_live(row, self.database.clock(connection)):
                return None
            return _run_info_of(row), row.host

    def list_unpublished(self, output: str) -> list[RunInfo]:
        """The runs under this output with unpublished calls."""
        waiting = sa.select(CALLS.c.run).where(CALLS.c.run == RUNS.c.run, CALLS.c.volume.is_(None))
        query = sa.select(RUNS).where(RUNS.c.output == output, waiting.exists()).order_by(RUNS.c.run)
        with self.database.reading() as connection:
            return [_run_info_of(row) for row in connection.execute(query).all()]

    def adopt(self, run: str) -> bool:
        """Take over an abandoned run, which then starts no more shards; False when another process was faster."""
        with self.database.writing() as connection:
            row = connection.execute(sa.select(RUNS).where(RUNS.c.run == run).with_for_update()).one_or_none()
            now = self.database.clock(connection)
            if (
                row is None
                or row.published_at is not None
                or is_live(row, now)
                or has_live_shards(connection, run, now)
            ):
                return False
            ours = self._lease(connection) | {"stopping": True}
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(ours))
            return True

    def count_volumes(self, run: str) -> int:
        """The number of published volumes of this run."""
        with self.database.reading() as connection:
            return int(connection.execute(sa.select(RUNS.c.volumes).where(RUNS.c.run == run)).scalar_one())

    def mark_volume_published(self, run: str, volume: int, unfinished: Collection[str]) -> None:
        """Mark the run's calls as published in this volume, and drop the bodies of their replies.

        Replies for the documents in `unfinished` are kept for the next run.
        """
        with self.database.writing() as connection:
            fresh = (CALLS.c.run == run) & CALLS.c.volume.is_(None)
            _add_answer_sums(self.database, connection, fresh)
            kept = _find_orphaned_replies(connection, fresh, unfinished)
            if kept:
                connection.execute(ONE_CALL.values(volume=volume), kept)
            connection.execute(CALLS.update().where(fresh).values(volume=volume, **NO_REPLY))
            changed = {"volumes": volume, "orphaned_replies": RUNS.c.orphaned_replies + len(kept)}
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(changed))

    def mark_used(self, used: Collection[CallId]) -> None:
        """Drop these replies of earlier runs: documents have used them."""
        with self.database.writing() as connection:
            _drop_used_replies(connection, used)

    def finish(self, run: str, used: Collection[CallId] = ()) -> None:
        """Finish a run whose volumes are all published; `used` are the replies of earlier runs that documents have used."""
        now = datetime.now(UTC)
        with self.database.writing() as connection:
            _drop_used_replies(connection, used)
            _finish_run(connection, run, now.isoformat(), self.database.clock(connection))
            stale = (now - timedelta(days=KEEP_REPLY_DAYS)).isoformat()
            old = sa.select(RUNS.c.run).where(RUNS.c.orphaned_replies > 0, RUNS.c.published_at < stale)
            connection.execute(CALLS.update().where(CALLS.c.run.in_(old)).values(NO_REPLY))
            connection.execute(RUNS.update().where(RUNS.c.run.in_(old)).values(orphaned_replies=0))

    def _lease(self, connection: sa.Connection) -> dict[str, object]:
        owner = current_process()
        until = self.database.clock(connection) + LEASE_SECONDS
        return {"host": owner.host, "pid": owner.pid, "born": owner.started, "lease_until": until}


def is_live(row: sa.Row[tuple[object, ...]], now: float) -> bool:
    """Whether a process works on the run or shard of this row."""
    if row.host == RELEASED:
        return False
    gone = Owner(row.host, row.pid, row.born).has_ended
    return row.lease_until >= now if gone is None else not gone


def has_live_shards(connection: sa.Connection, run: str, now: float) -> bool:
    """Whether a shard of this run is still worked on; without its parent it stops within seconds."""
    rows = connection.execute(sa.select(SHARDS).filter_by(run=run, status=None)).all()
    return any(is_live(row, now) for row in rows)


def _is_owned_by(owner: Owner) -> sa.ColumnElement[bool]:
    return (RUNS.c.host == owner.host) & (RUNS.c.pid == owner.pid) & (RUNS.c.born == owner.started)


def _drop_used_replies(connection: sa.Connection, used: Collection[CallId]) -> None:
    if used:
        calls = [{"_run": call.run, "_writer": call.writer, "_call": call.call} for call in used]
        connection.execute(ONE_CALL.values(NO_REPLY), calls)
    for giver in {call.run for call in used}:
        unfinished = sa.select(sa.func.count()).where(CALLS.c.run == giver, CALLS.c.reply.is_not(None))
        connection.execute(
            RUNS.update().where(RUNS.c.run == giver).values(orphaned_replies=unfinished.scalar_subquery())
        )


def _find_orphaned_replies(
    connection: sa.Connection, calls: sa.ColumnElement[bool], unfinished: Collection[str]
) -> list[dict[str, object]]:
    """The calls among these that answered an unfinished document, as parameters of `ONE_CALL`."""
    if not unfinished:
        return []
    query = sa.select(CALLS.c.run, CALLS.c.writer, CALLS.c.call, CALLS.c.document)
    rows = connection.execute(query.where(calls & CALLS.c.reply.is_not(None))).all()
    return [{"_run": row.run, "_writer": row.writer, "_call": row.call} for row in rows if row.document in unfinished]


def _add_answer_sums(database: Database, connection: sa.Connection, calls: sa.ColumnElement[bool]) -> None:
    """Add accepted answers to the sums behind the averages of estimates."""
    rows = connection.execute(select_accepted_sums().where(calls)).all()
    insert = database.insert(ANSWERS)
    summed = ("count", "completion_tokens", "seconds")
    upsert = insert.on_conflict_do_update(
        index_elements=[ANSWERS.c.endpoint, ANSWERS.c.model, ANSWERS.c.schema],
        set_={name: ANSWERS.c[name] + insert.excluded[name] for name in summed},
    )
    if rows:
        connection.execute(upsert, [dict(zip(ANSWERS.c.keys(), row, strict=True)) for row in rows])


def _finish_run(connection: sa.Connection, run: str, at: str, now: float) -> None:
    """Set the end of a run, and delete the marks of ended runs that no live run needs any more.

    The end is not before the start of any live run, even if the clock was set back.
    """
    rows = connection.execute(sa.select(RUNS).where(RUNS.c.published_at.is_(None), RUNS.c.run != run)).all()
    live_starts = [row.started_at for row in rows if is_live(row, now)]
    ending = {"published_at": max([at, *live_starts]), "host": RELEASED}
    connection.execute(RUNS.update().where(RUNS.c.run == run).values(ending))
    ended = sa.select(RUNS.c.run).where(RUNS.c.published_at.is_not(None))
    if live_starts:
        ended = ended.where(RUNS.c.published_at < min(live_starts))
    connection.execute(MARKS.delete().where(MARKS.c.run.in_(ended)))


def _run_info_of(row: sa.Row[tuple[object, ...]]) -> RunInfo:
    """The run of a row of `runs`."""
    price = None
    if row.price_input is not None:
        price = Price(
            Decimal(row.price_input),
            Decimal(row.price_output),
            None if row.price_cached is None else Decimal(row.price_cached),
            None if row.price_as_of is None else date.fromisoformat(row.price_as_of),
        )
    return RunInfo(
        run=row.run,
        started_at=datetime.fromisoformat(row.started_at),
        source=row.source,
        output=row.output,
        fingerprint=Fingerprint(row.endpoint, row.model, row.schema, row.schema_hash, row.prompt_hash),
        policy=row.policy,
        bill_rule=row.bill_rule,
        price=price,
        flow=row.flow,
        job=row.job,
        flow_run=row.flow_run,
    )
