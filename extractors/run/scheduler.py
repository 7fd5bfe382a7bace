"""ChunkScheduler: takes documents from the feed of a run, or of a shard, and keeps a window of chunks in progress."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from extractors.bill import NoteCounts
from extractors.call.logprobs import LogprobOption
from extractors.call.rate_limit import RateLimiter
from extractors.call.request import RequestTemplate
from extractors.config.prices import warn_old_price
from extractors.config.run_config import CORES
from extractors.core.errors import RunError
from extractors.core.schema import ASK
from extractors.core.totals import RunTotals
from extractors.record.ledger.writer import LedgerWriter
from extractors.record.tables.row_index import RowIndex
from extractors.record.tables.volume import PartId
from extractors.run.cascade import build_cascade
from extractors.run.chunk import Chunk
from extractors.run.context import AnswerPolicy, Reuse, RunContext, Services, open_client
from extractors.run.monitors import BillingMonitor, FailureGuard, LogprobMonitor, ModelGuard
from extractors.run.quality_monitor import QualityMonitor
from extractors.run.refusals import RefusalGuard
from extractors.run.result import RunCounts
from extractors.run.reuse import Deduplicator, OrphanedReplies
from extractors.run.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from extractors.core import Permits, Planned, Store
    from extractors.plan.feed import DocumentFeed
    from extractors.record.tables.writer import Tables
    from extractors.run.audit import Auditor
    from extractors.run.hooks import RunHooks
    from extractors.run.monitors import Monitor
    from extractors.run.reparse import Reparse
    from extractors.run.session import RunSession
    from extractors.run.witness.witness import Witness

FIRST_PART = PartId(0)
WINDOW = 3  # chunks in progress: the next ones use the rate while the slow tail of one ends, and memory stays flat


@dataclass(slots=True)
class ChunkScheduler:
    """The scheduler of one run or shard.

    `claimed_elsewhere` counts the documents that another run is processing, `done_elsewhere` those that another run has
    completed since this one began. A shard has a `writer` of its own, and knows those of `earlier` attempts at it.
    """

    session: RunSession
    feed: DocumentFeed
    tables: Tables
    hooks: RunHooks
    writer: LedgerWriter | None = None
    earlier: Sequence[int] = ()
    claimed_elsewhere: int = 0
    done_elsewhere: int = 0
    permits: Permits | None = None
    notes: NoteCounts = field(default_factory=NoteCounts)

    async def take(self) -> list[Planned]:
        """Takes and claims the next documents of this run; empty only at the end."""
        claims = self.session.ledger.claims
        while taken := await asyncio.to_thread(self.feed.take, self.session.config.settings.chunk):
            claimed = await asyncio.to_thread(claims.claim, self.session.run_info, taken)
            self.feed.skip(claimed.count("done"))
            self.done_elsewhere += claimed.count("done")
            self.claimed_elsewhere += claimed.count("theirs")
            if ours := [each for each, claim in zip(taken, claimed, strict=True) if claim == "ours"]:
                for each in ours:
                    self.notes.add(each)
                return ours
        return []

    async def run_chunks(
        self, pending: list[Planned], context: RunContext, limit: int, part: PartId = FIRST_PART
    ) -> tuple[RunTotals, list[Planned]]:
        """Processes up to `limit` documents in chunks that are staged from this part on; returns what was taken beyond the limit.

        Raises the error that stops the run when a chunk could not be staged.
        """
        totals, running, failed = RunTotals(), set[asyncio.Future[RunTotals]](), None
        try:
            while running or (pending and limit):
                while pending and limit and len(running) < WINDOW:
                    documents, pending = pending[:limit], pending[limit:]
                    running.add(asyncio.ensure_future(self.hooks.run_chunk(Chunk(part, documents, context))))
                    limit, part = limit - len(documents), part.next
                    if not pending and context.shutdown.error is None:
                        pending = await self.take()
                        await asyncio.to_thread(context.reuse.orphaned_replies.refresh)
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    if error := _run_error(task):  # calls in flight are still recorded
                        context.shutdown.stop(error)
                        failed = failed or error
                    else:
                        totals += task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if failed:
            raise failed
        return totals + await self._settle(part, context), pending

    async def _settle(self, part: PartId, context: RunContext) -> RunTotals:
        """Records the withheld refusals, and counts what remains in the feed when the run was stopped."""
        totals = RunTotals()
        if withheld := context.services.refusals.release():
            totals += await Chunk(part, (), context).record(withheld)
        if withheld := context.services.refusals.release():
            totals += await Chunk(part, (), context).record(withheld)
        if context.shutdown.error is not None and not context.shutdown.stopped_twice:
            totals += RunTotals(remaining=await asyncio.to_thread(self.feed.rest))
        return totals

    async def build_context(self, stack: AsyncExitStack, shutdown: Shutdown | None = None) -> RunContext:
        """Builds what the chunks work with, which the stack closes; from then on calls may be sent.

        `shutdown`: that of the run, where it has been entered already.
        """
        session, config = self.session, self.session.config
        fingerprint = session.run_info.fingerprint
        if self.hooks.permits and not config.offline and session.stored_replies is None:  # else no shared rate is used
            lease_rate = self.hooks.permits(config.endpoint, config.model, config.limits.rpm, self.hooks.notify)
            self.permits = await stack.enter_async_context(lease_rate)
        limiter = RateLimiter(config.limits, session.ledger.memory.rate(fingerprint), permits=self.permits)
        entered, settings = shutdown, config.settings
        shutdown = entered or Shutdown(
            limiter, drain=settings.drain, max_time=config.job.max_time, say=self.hooks.notify
        )
        shutdown.limit(limiter)
        reuse = await self._build_reuse()
        services = await self._open_services(limiter, stack)
        services = replace(services, witness=self._build_witness(services, shutdown, stack))
        context = RunContext(
            run_info=session.run_info,
            schema=config.schema,
            tariff=self.feed.tariff,
            answers=AnswerPolicy(config.settings.reasks, build_cascade(config), self._build_auditor()),
            services=services,
            reuse=reuse,
            monitors=self._build_monitors(services.client.logprobs),
            shutdown=shutdown if entered else stack.enter_context(shutdown),
            hooks=self.hooks,
        )
        session.lease.begin_calls(context.shutdown)
        self.hooks.stop_switch.connect(context.shutdown)
        return context

    def _build_witness(self, services: Services, shutdown: Shutdown, stack: AsyncExitStack) -> Witness | None:
        if self.session.config.job.witness is None:
            return None
        from extractors.run.witness.witness import build_witness  # noqa: PLC0415 - only a run with a witness needs it

        readers = services.readers or services.threads
        return build_witness(self.session.config, services.store, readers, shutdown, stack)

    def _build_auditor(self) -> Auditor | None:
        size = self.session.config.job.audit
        if size is None:
            return None
        from extractors.run.audit import Auditor  # noqa: PLC0415 - only a run with an audit needs it

        return Auditor(size, self.session.run_info.run)

    async def _build_reuse(self) -> Reuse:
        session = self.session
        orphaned_replies = OrphanedReplies(session.ledger.calls, session.run_info, self.earlier)
        await asyncio.to_thread(orphaned_replies.refresh)
        job = session.config.job
        earlier_rows = job.redo in {None, "failed"} or job.redo_before is not None
        index = RowIndex(self.tables, earlier=earlier_rows, offline=session.offline, since=job.redo_before)
        deduplicator = Deduplicator(self.tables, index)
        return Reuse(deduplicator, orphaned_replies, self._build_reparse())

    def _build_reparse(self) -> Reparse | None:
        if self.session.stored_replies is None:
            return None
        from extractors.run.reparse import Reparse  # noqa: PLC0415 - only `--redo reparse` needs it

        return Reparse(self.session.stored_replies)

    async def _open_services(self, limiter: RateLimiter, stack: AsyncExitStack) -> Services:
        session, config = self.session, self.session.config
        template = RequestTemplate(
            config.schema, ask=ASK, model=config.model, profile=config.profile, style=config.style
        )
        reachable = config if session.stored_replies is None else replace(config, offline=False)  # no child is needed
        return Services(
            store=self.feed.store,
            template=template,
            client=await open_client(reachable, limiter, stack, self._build_logprob_option()),
            writer=self.writer or LedgerWriter(session.ledger.calls, session.run_info, config.budget),
            tables=self.tables,
            threads=stack.enter_context(ThreadPoolExecutor(CORES, thread_name_prefix="prepare")),
            readers=_start_readers(self.feed.store, stack),
            admission=asyncio.Semaphore(config.concurrency + 2 * CORES),
            refusals=RefusalGuard(),
        )

    def _build_logprob_option(self) -> LogprobOption:
        """Whether log probabilities are asked for: a server that refused them in an earlier run is not asked again."""
        session = self.session
        wanted = session.config.confidence and session.stored_replies is None
        refusal = session.ledger.memory.logprob_refusal(session.run_info.fingerprint) if wanted else None
        return LogprobOption(wanted, refusal, earlier=refusal is not None)

    def _build_monitors(self, logprobs: LogprobOption) -> list[Monitor]:
        session, config, tariff = self.session, self.session.config, self.feed.tariff
        earlier_models = session.ledger.memory.returned_models(session.run_info.fingerprint)
        measured = session.prior.text_tokens is not None
        return [
            BillingMonitor(config.rule, tariff.text_bytes, tariff.text_tokens, measured=measured),
            FailureGuard(config.job.fail_above),
            ModelGuard(config.model, earlier_models, stops=config.settings.on_model_change == "stop"),
            LogprobMonitor(logprobs),
            QualityMonitor(),
        ]

    def count_skipped(self) -> RunCounts:
        """Counts the documents that the feed has skipped so far."""
        return RunCounts(self.feed.skipped, skipped_failed=Counter(self.feed.skipped_failed))

    def warnings(self, context: RunContext | None) -> tuple[str, ...]:
        """The warnings for the run's row."""
        warnings = [warn_old_price(self.session.run_info), *self.session.config.warnings, *self.notes.warnings()]
        if self.claimed_elsewhere:
            warnings.append(f"{self.claimed_elsewhere} documents are being processed by another run")
        if self.session.stored_replies is not None and (unstored := self.feed.skipped + self.feed.waiting):
            warnings.append(f"{unstored} documents have no stored answer, of which {self.feed.skipped} are done")
        if context:
            warnings += [monitor.warning() for monitor in context.monitors]
            warnings.append(context.services.witness.warning() if context.services.witness else None)
        if self.permits:
            warnings.append(self.permits.warning())
        return tuple(warning for warning in warnings if warning)

    def remember(self, context: RunContext, *, alone: bool = True) -> None:
        """Stores in the ledger what the next run needs; `alone`: no other process shared the rate. Blocks."""
        memory, fingerprint = self.session.ledger.memory, self.session.run_info.fingerprint
        if alone and (rate := context.services.client.limiter.sustained_rate):
            memory.keep_rate(fingerprint, rate)
        for monitor in context.monitors:
            monitor.remember(memory, fingerprint)


def _run_error(task: asyncio.Future[RunTotals]) -> RunError | None:
    """The run error that a chunk has raised, if any."""
    error = task.exception()
    return error if isinstance(error, RunError) else None


def _start_readers(store: Store, stack: AsyncExitStack) -> ThreadPoolExecutor | None:
    """Starts threads that wait for bytes, where reading waits."""
    if store.readers == 1:
        return None
    return stack.enter_context(ThreadPoolExecutor(store.readers, thread_name_prefix="read"))
