"""Work: what a run, or a shard of one, does with the documents of its feed: it takes them, and has chunks work on them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.call.rate_limit import RateLimiter
from extractors.call.request import RequestTemplate
from extractors.config.prices import warn_old_price
from extractors.config.run_config import CORES
from extractors.core.errors import RunError
from extractors.core.schema import ASK
from extractors.core.totals import RunTotals
from extractors.record.ledger.writer import LedgerWriter
from extractors.run.chunk import Chunk
from extractors.run.context import Reuse, RunContext, Services, open_client
from extractors.run.monitors import BillingMonitor, FailureGuard, ModelGuard
from extractors.run.refusals import RefusalGuard
from extractors.run.reparse import Reparse
from extractors.run.reuse import OrphanedReplies
from extractors.run.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from extractors.config.run_config import PriorStats, RunConfig
    from extractors.core import Permits, Planned, RunInfo, Store
    from extractors.plan.apply import PlanFeed
    from extractors.plan.feed import Feed
    from extractors.record.ledger import Ledger
    from extractors.record.tables.replies import StoredReplies
    from extractors.record.tables.writer import Tables
    from extractors.run.hooks import RunHooks
    from extractors.run.reuse import Deduplicator

WINDOW = 3  # chunks under way: the next ones fill the rate while the slow tail of one ends, and memory stays flat


@dataclass(slots=True)
class ChunkScheduler:
    """What has begun. `theirs` counts the documents that another run is at, `done` those that one has done since."""

    config: RunConfig
    run_info: RunInfo
    ledger: Ledger
    tables: Tables
    feed: Feed | PlanFeed
    prior: PriorStats
    hooks: RunHooks
    deduplicator: Deduplicator
    stored_replies: StoredReplies | None = None
    theirs: int = 0
    done: int = 0
    permits: Permits | None = None
    writer: LedgerWriter | None = None  # who writes, where that was said before
    earlier: Sequence[int] = ()  # the writers of earlier tries at the same documents

    async def take(self) -> list[Planned]:
        """The next documents that are this run's to do; none at the end."""
        while pulled := await asyncio.to_thread(self.feed.take, self.config.settings.chunk):
            claims = await asyncio.to_thread(self.ledger.claims.claim, self.run_info, pulled)
            self.feed.skip(claims.count("done"))
            self.done += claims.count("done")
            self.theirs += claims.count("theirs")
            if ours := [each for each, claim in zip(pulled, claims, strict=True) if claim == "ours"]:
                return ours
        return []

    async def chunks(
        self, pending: list[Planned], context: RunContext, room: int, number: int = 0
    ) -> tuple[RunTotals, list[Planned]]:
        """So many documents in a window of chunks, numbered from `number` on; what became of them, and what was pulled beyond.

        Raises what stops the run where a chunk could not be staged.
        """
        totals, running, failed = RunTotals(), set[asyncio.Future[RunTotals]](), None
        try:
            while running or (pending and room):
                while pending and room and len(running) < WINDOW:
                    now, pending = pending[:room], pending[room:]
                    running.add(asyncio.ensure_future(self.hooks.run_chunk(Chunk(number, now, context))))
                    room, number = room - len(now), number + 1
                    if not pending and context.shutdown.error is None:
                        pending = await self.take()
                        await asyncio.to_thread(context.reuse.orphaned_replies.refresh)
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    if isinstance(error := task.exception(), RunError):  # calls on their way are still noted
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
        if withheld := context.services.refusals.release():
            totals += await Chunk(number, (), context).record(withheld)
        if context.shutdown.error is not None and not context.shutdown.hurried:
            totals += RunTotals(remaining=await asyncio.to_thread(self.feed.rest))
        return totals, pending

    async def build_context(self, stack: AsyncExitStack) -> RunContext:
        """Everything that the chunks work with; what has to be closed is on the stack."""
        asked, settings, memory, tariff = self.config, self.config.settings, self.ledger.memory, self.feed.tariff
        if (
            self.hooks.permits and not asked.offline and self.stored_replies is None
        ):  # else nothing is sent that others share
            leasing = self.hooks.permits(asked.endpoint, asked.model, asked.limits.rpm, self.hooks.notify)
            self.permits = await stack.enter_async_context(leasing)
        limiter = RateLimiter(asked.limits, memory.rate(self.run_info), permits=self.permits)
        shutdown = Shutdown(limiter, drain=settings.drain, max_time=asked.job.max_time, say=self.hooks.notify)
        orphaned_replies = OrphanedReplies(self.ledger.calls, self.run_info, self.earlier)
        await asyncio.to_thread(orphaned_replies.refresh)
        services = Services(
            store=self.feed.store,
            template=RequestTemplate(
                asked.schema, ask=ASK, model=asked.model, profile=asked.profile, style=asked.style
            ),
            client=await open_client(
                asked if self.stored_replies is None else replace(asked, offline=False), limiter, stack
            ),
            writer=self.writer or LedgerWriter(self.ledger.calls, self.run_info, asked.budget),
            tables=self.tables,
            threads=stack.enter_context(ThreadPoolExecutor(CORES, thread_name_prefix="prepare")),
            readers=_readers(self.feed.store, stack),
            admission=asyncio.Semaphore(asked.concurrency + 2 * CORES),
            refusals=RefusalGuard(),
        )
        reparse = Reparse(self.stored_replies) if self.stored_replies is not None else None
        return RunContext(
            run_info=self.run_info,
            schema=asked.schema,
            tariff=tariff,
            reasks=settings.reasks,
            services=services,
            reuse=Reuse(self.deduplicator, orphaned_replies, reparse),
            monitors=[
                BillingMonitor(
                    asked.rule, tariff.text_bytes, tariff.text_tokens, measured=self.prior.text_tokens is not None
                ),
                FailureGuard(asked.job.fail_above),
                ModelGuard(
                    asked.model, memory.returned_models(self.run_info), stops=settings.on_model_change == "stop"
                ),
            ],
            shutdown=stack.enter_context(shutdown),
            on_document=self.hooks.on_document,
        )

    def warnings(self, context: RunContext | None) -> tuple[str, ...]:
        """What a person should know of a run that went well."""
        others = f"{self.theirs} documents are left to another run, which is reading them" if self.theirs else None
        unstored = self.feed.skipped + self.feed.waiting if self.stored_replies is not None else 0
        stored = (
            f"{unstored} documents have no stored answer, of which {self.feed.skipped} are done" if unstored else None
        )
        said = [warn_old_price(self.run_info), others, stored]
        if context:
            said += [monitor.warning() for monitor in context.monitors]
        if self.permits:
            said.append(self.permits.warning())
        return tuple(warning for warning in said if warning)

    def remember(self, context: RunContext, *, alone: bool = True) -> None:
        """Stores in the ledger what the next run needs; `alone`: no other process shared the rate. Blocks."""
        memory = self.ledger.memory
        if alone and (rate := context.services.client.limiter.sustained_rate):
            memory.keep_rate(self.run_info, rate)
        for monitor in context.monitors:
            monitor.remember(memory, self.run_info)


def _readers(store: Store, stack: AsyncExitStack) -> ThreadPoolExecutor | None:
    """Threads that wait for bytes, where reading is waiting."""
    if store.readers == 1:
        return None
    return stack.enter_context(ThreadPoolExecutor(store.readers, thread_name_prefix="read"))
