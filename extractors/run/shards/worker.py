"""ShardWorker: one process works on a shard under the run id of its parent: it stages rows and records calls, no more.

The parent folds and publishes. An attempt at a shard that is started again takes over what earlier attempts staged, or
were answered, and pays twice for nothing but the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from extractors.config.job import Job
from extractors.config.run_config import prior_stats
from extractors.core import Unfinished
from extractors.core.call_counts import CallCounts
from extractors.core.document_totals import totals_of
from extractors.core.errors import ConfigurationError, LeaseLost, LedgerError, RunError, Stopped, TilewiseError
from extractors.plan.apply import PlanFeed, PlanRange, resolve_plan
from extractors.plan.stored_plan import StoredPlan
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import LEASE_SECONDS, current_process
from extractors.record.ledger.shards import COMPLETED, ShardAttempt
from extractors.record.ledger.writer import LedgerWriter
from extractors.record.output import open_output
from extractors.record.output.base import writing
from extractors.record.tables.replies import load_history_with_replies
from extractors.record.tables.volume import PartId, Volume
from extractors.record.tables.writer import Tables, table_of
from extractors.run.cascade import build_cascade
from extractors.run.hooks import NO_HOOKS
from extractors.run.recovery import restore_answered
from extractors.run.scheduler import ChunkScheduler
from extractors.run.session import RunSession
from extractors.run.witness.witness import find_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.core import Accepted, DocumentResult, Name, Planned, RunInfo
    from extractors.core.shards import ShardSpec
    from extractors.plan.stored_plan import PlanInfo
    from extractors.record.ledger.shards import ShardCommand
    from extractors.run.context import RunContext
    from extractors.run.hooks import RunHooks
    from extractors.run.shutdown import Shutdown

BEAT_SECONDS = 2.0  # a shard hears this soon that it is to stop, or that its parent is gone


async def run_shard(spec: ShardSpec, settings: Settings, hooks: RunHooks = NO_HOOKS) -> ShardAttempt:
    """Processes a shard of a run that its parent has begun; returns how the attempt ended, as the ledger has it.

    Raises ConfigurationError when this worker cannot begin as its parent did, RunError when it cannot begin now: then
    no call was sent.
    """
    stored_plan = StoredPlan(spec.plan)
    with _retryable():
        info = await asyncio.to_thread(stored_plan.read_info)
    async with AsyncExitStack() as stack:
        with _retryable():
            ledger = stack.enter_context(Ledger(settings.ledger))
        run_info = _read_run(ledger, spec, settings)
        config = _resolve(spec, run_info, info, settings, ledger)
        writer = secrets.randbits(31)
        attempt, earlier = await asyncio.to_thread(ledger.shards.begin, run_info.run, spec.number, writer)
        lease = await stack.enter_async_context(_renew_regularly(ShardLease(ledger, attempt, hooks)))
        worker = _ShardWorker(spec, stored_plan, info, config, run_info, lease, [each.writer for each in earlier])
        try:
            scheduler, restored = await asyncio.to_thread(
                worker.prepare, LedgerWriter(ledger.calls, run_info, config.budget, writer)
            )
            stack.callback(scheduler.feed.close)
            attempt = await _run_chunks(scheduler, restored, PartId(0, spec.number, attempt.attempt), lease)
        except RunError as error:
            attempt = replace(lease.attempt_now, status=error.status, message=error.message)
        except BaseException as error:
            message = error.message if isinstance(error, TilewiseError) else type(error).__name__
            with suppress(LedgerError):  # then the parent sees that this process has ended
                ledger.shards.finish(replace(lease.attempt_now, status="failed", message=message))
            raise
        await asyncio.to_thread(ledger.shards.finish, attempt)
        return attempt


@contextmanager
def _retryable() -> Iterator[None]:
    """Turns a configuration error into a run error: what cannot be read now may be read by the next attempt."""
    try:
        yield
    except ConfigurationError as error:
        raise RunError(error.message) from None


@dataclass(frozen=True, slots=True)
class _ShardWorker:
    """A shard that has begun; `earlier` are the writers of earlier attempts. Its methods block: call them in a thread."""

    spec: ShardSpec
    stored_plan: StoredPlan
    info: PlanInfo
    config: RunConfig
    run_info: RunInfo
    lease: ShardLease
    earlier: Sequence[int]

    def prepare(self, writer: LedgerWriter) -> tuple[ChunkScheduler, Sequence[Accepted]]:
        """Takes over what earlier attempts left, and schedules the rest. Raises RunError, ConfigurationError.

        Also returns the documents that earlier attempts were answered, which are to be staged.
        """
        config, run_info, job = self.config, self.run_info, self.config.job
        output, offline, ledger = open_output(run_info.output), self.spec.offline, self.lease.ledger
        volume = Volume(output, run_info, 1)
        tables = Tables(output, run_info, config.schema.model, config.settings.keep_replies, volume)
        tables.on_stage = self.lease.staging
        done, restored = self._take_over(tables) if self.earlier else (set(), ())
        history, _ = load_history_with_replies(output, run_info.fingerprint, job.redo_scope, offline=offline)
        prior = prior_stats(ledger.memory, run_info.fingerprint)
        session = RunSession(
            config, run_info, ledger, self.lease, output, prior, history, stored_replies=None, offline=offline
        )
        plan_range = PlanRange(self.spec.first, self.spec.count, done)
        feed = PlanFeed(session.estimate_inputs, self.stored_plan, self.info, plan_range)
        restored = [replace(each, planned=feed.complete(each.planned)) for each in restored]
        hooks = replace(self.lease.hooks, on_calls=self.lease.add_calls)
        return ChunkScheduler(session, feed, tables, hooks, writer=writer, earlier=self.earlier), restored

    def _take_over(self, tables: Tables) -> tuple[set[Name], Sequence[Accepted]]:
        """The documents that earlier attempts staged or were answered for sure, and of these those that are to be staged."""
        with writing(tables.output):
            done = tables.volume.staged_documents(self.spec.number)
            tables.volume.drop_torn_images(done, self.spec.number)
        missing: dict[str, Planned] = {}
        for batch in self.stored_plan.iter_documents(self.spec.first, self.spec.count):
            missing |= {each.document: each for each in batch if each.name not in done}
        calls = self.lease.ledger.calls.iter_unpublished(self.spec.run, self.earlier)
        restored = list(restore_answered(calls, missing, self.config.schema, build_cascade(self.config)))
        return done | {each.planned.name for each in restored}, restored


async def _run_chunks(
    scheduler: ChunkScheduler, restored: Sequence[Accepted], first: PartId, lease: ShardLease
) -> ShardAttempt:
    """Stages the restored documents, processes and stages the others; returns the attempt as it ended."""
    async with AsyncExitStack() as stack:
        if restored and scheduler.session.config.job.witness is None:  # else it looks at them, too
            await asyncio.to_thread(scheduler.tables.stage, first.restored, restored)
            restored = ()
        pending = await scheduler.take()
        if not pending and not restored:
            return replace(lease.attempt_now, status=COMPLETED, skipped=scheduler.done_elsewhere)
        context = await scheduler.build_context(stack)
        if restored:
            looking = asyncio.gather(*(find_values(each, context) for each in restored))
            await asyncio.to_thread(scheduler.tables.stage, first.restored, await looking)
        await scheduler.run_chunks(pending, context, sys.maxsize, first)
        if forbidden := context.services.client.breaker.check_forbidden():
            context.shutdown.stop(forbidden)
        await asyncio.to_thread(_remember, scheduler, context)
        error = context.shutdown.error
        return replace(
            lease.attempt_now,
            status=error.status if error else COMPLETED,
            message=error.message if error else "",
            warnings=scheduler.warnings(context),
            skipped=scheduler.done_elsewhere,
        )


def _remember(scheduler: ChunkScheduler, context: RunContext) -> None:
    """Stores what the endpoint's next run needs, but not the rate: a shard has only a part of it."""
    scheduler.remember(context, alone=False)
    session = scheduler.session
    used = context.reuse.orphaned_replies.used
    session.ledger.runs.mark_used([each for each in used if each.run != session.run_info.run])


def _read_run(ledger: Ledger, spec: ShardSpec, settings: Settings) -> RunInfo:
    """Reads the parent's run. Raises ConfigurationError where this ledger is not the parent's."""
    live = ledger.runs.find_live(spec.run)
    cure = "workers on other hosts need one ledger for all: set TILEWISE_LEDGER to a postgresql+psycopg://… URL"
    is_sqlite = settings.ledger.startswith("sqlite")
    if live is None and is_sqlite:
        raise ConfigurationError(f"TILEWISE_LEDGER is SQLite here, and has no live run {spec.run}: {cure}")
    if live is None:
        raise RunError(
            f"run {spec.run} accepts no shards according to the ledger of TILEWISE_LEDGER: does its parent use another ledger?"
        )
    run_info, host = live
    if is_sqlite and host != current_process().host:
        raise ConfigurationError(
            f"TILEWISE_LEDGER is SQLite, which works on one host only, and run {spec.run} is on another: {cure}"
        )
    return run_info


def _resolve(spec: ShardSpec, run_info: RunInfo, info: PlanInfo, settings: Settings, ledger: Ledger) -> RunConfig:
    """Resolves the plan's job as its parent does. Raises ConfigurationError where this worker would do another job."""
    budget = Job.model_validate_json(run_info.job).budget
    config = resolve_plan(spec.plan, info, settings, budget=budget)
    config = replace(config.with_calibration(ledger.memory), rule=config.rule, output=run_info.output)
    own = {"max_time": None, "audit": None}  # the parent watches the time, and audits
    return replace(config, job=config.job.model_copy(update=own))


@asynccontextmanager
async def _renew_regularly(lease: ShardLease) -> AsyncIterator[ShardLease]:
    """Renews the lease as long as it is entered."""
    renewing = asyncio.create_task(lease.renew_regularly())
    try:
        yield lease
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing


@dataclass(slots=True)
class ShardLease:
    """The lease of an attempt at a shard, a `RunLease`: reports progress, and stops when the run says so or is gone."""

    ledger: Ledger
    attempt: ShardAttempt
    hooks: RunHooks
    _calls: CallCounts = field(default_factory=CallCounts, init=False)
    _shutdown: Shutdown | None = field(default=None, init=False)
    _stopped_by: RunError | None = field(default=None, init=False)

    def heartbeat(self) -> ShardCommand:
        """Renews the lease once; returns what the run says. Blocks: call it in a thread."""
        return self.ledger.shards.heartbeat(self.attempt_now)

    @property
    def attempt_now(self) -> ShardAttempt:
        """The attempt with the calls so far."""
        return replace(self.attempt, calls=self._calls)

    def add_calls(self, counts: CallCounts) -> None:
        """Counts calls that have ended, which the next heartbeat reports."""
        self._calls += counts
        self.hooks.on_calls(counts)

    @contextmanager
    def staging(self, results: Sequence[DocumentResult]) -> Iterator[None]:
        """Guards the staging of results: raises LeaseLost when another attempt has the shard, and counts them after."""
        if self.heartbeat() == "lost":
            raise self._lost()
        yield
        tables = [table_of(result) for result in results if not isinstance(result, Unfinished)]
        accepted, failed = (tables.count(name) for name in ("results", "failures"))
        kinds = Counter(kind for result in results for _, kind, _ in totals_of(result).kinds)
        self.attempt = replace(
            self.attempt,
            accepted=self.attempt.accepted + accepted,
            failed=self.attempt.failed + failed,
            kinds=self.attempt.kinds + kinds,
        )

    def begin_calls(self, shutdown: Shutdown) -> None:
        """From here on calls may be sent; this shutdown stops them, also when the shard was told to stop before."""
        self._shutdown = shutdown
        if self._stopped_by is not None:
            self._stop(self._stopped_by)

    async def renew(self) -> None:
        """Renews the lease. Raises LeaseLost when the run has ended, or goes on without this attempt."""
        if await asyncio.to_thread(self.heartbeat) == "lost":
            raise self._lost()

    async def renew_regularly(self) -> None:
        """Renews the lease until it is cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                command = await asyncio.to_thread(self.heartbeat)
            except LedgerError as error:
                if loop.time() - last > LEASE_SECONDS:
                    self._stop(error)
                continue
            last = loop.time()
            self._obey(command)

    def _obey(self, command: ShardCommand) -> None:
        """Stops when the run says so."""
        if command == "stop":
            self._stop(Stopped("its run was told to stop, or its parent is gone"))
        elif command == "lost":
            self._stop(self._lost())

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"run {self.attempt.run} has ended, or goes on without this attempt")

    def _stop(self, error: RunError) -> None:
        self._stopped_by = error
        if self._shutdown is None:
            return
        self._shutdown.stop(error)
        if isinstance(error, LeaseLost) and not self._shutdown.cancelling:  # the run is published without waiting
            self._shutdown.cancel_calls()
