"""Shard: one process works on a piece of a parent's run, under its run id: it stages rows and notes money, no more.

The parent folds and publishes. A try at a shard that is begun again takes up what earlier tries have staged, or were
answered, and pays for nothing twice but what was on its way.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from typing_extensions import override

from extractors.config.job import Job
from extractors.config.run_config import prior_stats
from extractors.core import Unfinished
from extractors.core.errors import ConfigurationError, LeaseLost, LedgerError, RunError, Stopped, TilewiseError
from extractors.core.shards import TRY
from extractors.plan.apply import ApplyRequest, PlanFeed, PlanRange
from extractors.plan.stored_plan import StoredPlan
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import LEASE_SECONDS, current_process
from extractors.record.ledger.shards import COMPLETED, ShardAttempt
from extractors.record.ledger.writer import LedgerWriter
from extractors.record.output import open_output
from extractors.record.output.base import writing
from extractors.record.tables.replies import load_history_with_replies
from extractors.record.tables.row_index import RowIndex
from extractors.record.tables.volume import Volume
from extractors.record.tables.writer import Tables, table_of
from extractors.run.hooks import NO_HOOKS
from extractors.run.recovery import restore_answered
from extractors.run.reuse import Deduplicator
from extractors.run.scheduler import ChunkScheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.core import Accepted, Copied, Failed, Name, Planned, RunInfo
    from extractors.core.shards import ShardSpec
    from extractors.plan.stored_plan import PlanInfo
    from extractors.record.ledger.shards import ShardCommand
    from extractors.run.context import RunContext
    from extractors.run.hooks import RunHooks
    from extractors.run.shutdown import Shutdown

BEAT_SECONDS = 2.0  # a shard hears this soon that it is to stop, or that its parent has gone


async def work_on(piece: ShardSpec, settings: Settings, hooks: RunHooks = NO_HOOKS) -> ShardAttempt:
    """Does a piece of a run that its parent has begun; gives how it ended, which the ledger knows then.

    Raises ConfigurationError when this worker cannot begin as its parent did, RunError when it cannot begin now: then
    nothing was sent.
    """
    stored_plan = StoredPlan(piece.plan)
    with _passing():
        agreed = await asyncio.to_thread(stored_plan.agreed)
    async with AsyncExitStack() as stack:
        with _passing():
            ledger = stack.enter_context(Ledger(settings.ledger))
        terms = _terms(ledger, piece, settings)
        asked = _brief(piece, terms, agreed, settings, ledger)
        writer = secrets.randbits(31)
        this, earlier = await asyncio.to_thread(ledger.shards.begin, terms.run, piece.number, writer)
        shard = _ShardWorker(piece, stored_plan, agreed, asked, terms, ledger, [each.writer for each in earlier])
        beat = await stack.enter_async_context(_leased(ledger, this, hooks))
        try:
            work = await asyncio.to_thread(shard.begun, beat, LedgerWriter(ledger.calls, terms, asked.budget, writer))
            stack.callback(work.feed.close)
            this = await _worked(work, piece.part(this.attempt), beat)
        except RunError as error:
            this = replace(beat.this, status=error.status, message=error.message)
        except BaseException as error:
            words = error.message if isinstance(error, TilewiseError) else type(error).__name__
            with suppress(LedgerError):  # then it is seen that this process has ended
                ledger.shards.finish(replace(beat.this, status="failed", message=words))
            raise
        await asyncio.to_thread(ledger.shards.finish, this)
        return this


@contextmanager
def _passing() -> Iterator[None]:
    """What cannot be read now may be read by the next try, or by another worker: the run does not end of it."""
    try:
        yield
    except ConfigurationError as error:
        raise RunError(error.message) from None


@dataclass(frozen=True, slots=True)
class _ShardWorker:
    """A shard that has begun; `earlier` are the writers of the tries before. Its methods are meant for a thread."""

    shard: ShardSpec
    stored_plan: StoredPlan
    plan_info: PlanInfo
    config: RunConfig
    run_info: RunInfo
    ledger: Ledger
    earlier: Sequence[int]

    def begun(self, beat: _Heartbeat, writer: LedgerWriter) -> ChunkScheduler:
        """What there is to do, once what earlier tries have left is taken up. Raises RunError, ConfigurationError."""
        asked, terms, job = self.config, self.run_info, self.config.job
        output = open_output(terms.output)
        tables = _Tables(output, terms, asked.schema.model, asked.settings.keep_replies, Volume(output, terms, 1))
        tables.beat = beat
        done = self._taken_up(tables, beat.this) if self.earlier else set()
        past, _ = load_history_with_replies(output, terms, offline=self.shard.offline, redo=job.redo, kind=job.kind)
        prior = prior_stats(self.ledger.memory, terms)
        part = PlanRange(self.shard.first, self.shard.count, done)
        feed = PlanFeed(asked, asked.tariff(terms.price, prior), past, self.stored_plan, self.plan_info, part)
        deduplicator = Deduplicator(
            tables, RowIndex(tables, earlier=job.redo in {None, "failed"}, offline=self.shard.offline)
        )
        return ChunkScheduler(
            asked,
            terms,
            self.ledger,
            tables,
            feed,
            prior,
            beat.hooks,
            deduplicator,
            writer=writer,
            earlier=self.earlier,
        )

    def _taken_up(self, tables: _Tables, this: ShardAttempt) -> set[Name]:
        """The documents that need nothing more: staged by earlier tries, or answered then and staged now."""
        with writing(tables.output):
            done = tables.volume.staged_documents(self.shard.parts)
            tables.volume.drop_torn_images(done, self.shard.parts)
        missing: dict[str, Planned] = {}
        for batch in self.stored_plan.planned(self.shard.first, self.shard.count):
            missing |= {each.document: each for each in batch if each.name not in done}
        calls = self.ledger.calls.iter_unpublished(self.shard.run, self.earlier)
        found = list(restore_answered(calls, missing, self.config.schema))
        tables.stage(self.shard.part(this.attempt) + TRY - 1, found)
        return done | {each.planned.name for each in found}


class _Tables(Tables):
    """Tables that are staged in only as long as the shard is this process's: another try may be at it by now."""

    beat: _Heartbeat

    @override
    def stage(self, part: int, ends: Sequence[Accepted | Copied | Failed | Unfinished]) -> None:
        """See Tables. Raises LeaseLost."""
        if self.beat.ask() == "lost":
            raise LeaseLost(f"run {self.volume.run_info.run} has ended, or goes on without this try")
        super().stage(part, ends)
        self.beat.staged(ends)


async def _worked(scheduler: ChunkScheduler, number: int, beat: _Heartbeat) -> ShardAttempt:
    """The try, ended: what became of the documents is staged."""
    async with AsyncExitStack() as stack:
        pending = await scheduler.take()
        if not pending:
            return replace(beat.this, status=COMPLETED, skipped=scheduler.done)
        bench = await scheduler.build_context(stack)
        beat.pulls(bench.shutdown)
        await scheduler.chunks(pending, bench, sys.maxsize, number)
        if wall := bench.services.client.breaker.check_forbidden():
            bench.shutdown.stop(wall)
        await asyncio.to_thread(_remembered, scheduler, bench)
        error = bench.shutdown.error
        return replace(
            beat.this,
            status=error.status if error else COMPLETED,
            message=error.message if error else "",
            warnings=scheduler.warnings(bench),
            skipped=scheduler.done,
        )


def _remembered(scheduler: ChunkScheduler, context: RunContext) -> None:
    """What the endpoint's next run should know; not the rate, of which a shard has had its share only."""
    scheduler.remember(context, alone=False)
    scheduler.ledger.runs.mark_used(
        [each for each in context.reuse.orphaned_replies.used if each.run != scheduler.run_info.run]
    )


def _terms(ledger: Ledger, shard: ShardSpec, settings: Settings) -> RunInfo:
    """The parent's terms. Raises ConfigurationError where this ledger is not the parent's."""
    found = ledger.runs.find_live(shard.run)
    shared = "workers on other hosts need one ledger for all: set TILEWISE_LEDGER to a postgresql+psycopg://… URL"
    alone = settings.ledger.startswith("sqlite")
    if found is None and alone:
        raise ConfigurationError(f"TILEWISE_LEDGER is SQLite here, and knows no live run {shard.run}: {shared}")
    if found is None:
        raise RunError(f"run {shard.run} takes no shards by the ledger of TILEWISE_LEDGER: has its parent another one?")
    terms, host = found
    if alone and host != current_process().host:
        raise ConfigurationError(
            f"TILEWISE_LEDGER is SQLite, which holds for one host, and run {shard.run} is on another: {shared}"
        )
    return terms


def _brief(shard: ShardSpec, run_info: RunInfo, plan_info: PlanInfo, settings: Settings, ledger: Ledger) -> RunConfig:
    """The plan's job as its parent runs it. Raises ConfigurationError where this worker would do another thing."""
    job = Job.model_validate_json(run_info.job)
    asked = ApplyRequest(plan=shard.plan, budget=job.budget, yes=True).brief(plan_info, settings)
    planned = asked.rule
    asked = replace(asked.calibrated(ledger.memory), rule=planned, output=run_info.output)
    return replace(asked, job=asked.job.model_copy(update={"max_time": None}))  # which is the parent's to watch


@asynccontextmanager
async def _leased(ledger: Ledger, this: ShardAttempt, hooks: RunHooks) -> AsyncIterator[_Heartbeat]:
    """Renews the lease as long as it is entered."""
    beat = _Heartbeat(ledger, this, hooks)
    beating = asyncio.create_task(beat.keep())
    try:
        yield beat
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


@dataclass(slots=True)
class _Heartbeat:
    """Tells the ledger how far it is, and the brake when the parent says so, or is not there any more.

    The brake hears also what was said before there was one.
    """

    ledger: Ledger
    this: ShardAttempt
    hooks: RunHooks
    shutdown: Shutdown | None = None
    heard: RunError | None = None

    def ask(self) -> ShardCommand:
        """Renews the lease, once; what the run says. Meant for a thread."""
        return self.ledger.shards.heartbeat(self.this)

    def staged(self, ends: Sequence[Accepted | Copied | Failed | Unfinished]) -> None:
        """Counts what is staged: that is done, whatever becomes of this process."""
        tables = [table_of(end) for end in ends if not isinstance(end, Unfinished)]
        accepted, failed = (tables.count(name) for name in ("results", "failures"))
        self.this = replace(self.this, accepted=self.this.accepted + accepted, failed=self.this.failed + failed)

    def pulls(self, shutdown: Shutdown) -> None:
        """From here on calls may be sent, and this brake stops them."""
        self.shutdown = shutdown
        if self.heard is not None:
            self._stop(self.heard)

    async def keep(self) -> None:
        """Renews, again and again."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                told = await asyncio.to_thread(self.ask)
            except LedgerError as error:
                if loop.time() - last > LEASE_SECONDS:
                    self._stop(error)
                continue
            last = loop.time()
            if told == "stop":
                self._stop(Stopped("its run was told to stop, or its parent has gone"))
            elif told == "lost":
                self._stop(LeaseLost(f"run {self.this.run} has ended, or goes on without this try"))

    def _stop(self, error: RunError) -> None:
        self.heard = error
        if self.shutdown is None:
            return
        self.shutdown.stop(error)
        if isinstance(error, LeaseLost) and not self.shutdown.cutting:  # whoever publishes the run does not wait
            self.shutdown.cancel_calls()
