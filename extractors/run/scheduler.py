"""Work: what a run, or a shard of one, does with the documents of its feed: it takes them, and has chunks work on them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.call.rate_limit import RateLimiter
from extractors.call.request import RequestTemplate
from extractors.config.prices import old_price
from extractors.config.run_config import CORES
from extractors.core.errors import RunError
from extractors.core.schema import ASK
from extractors.core.totals import RunTotals
from extractors.record.ledger.writer import LedgerWriter
from extractors.run.bequests import OrphanedReplies
from extractors.run.chunk import Chunk, RunContext
from extractors.run.pilot import FailureGuard
from extractors.run.reach import caller
from extractors.run.reparse import Reparse
from extractors.run.returned import ModelGuard
from extractors.run.sentinel import BillingMonitor
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
    from extractors.run.copies import Deduplicator
    from extractors.run.hooks import RunHooks

WINDOW = 3  # chunks under way: the next ones fill the rate while the slow tail of one ends, and memory stays flat


@dataclass(slots=True)
class ChunkScheduler:
    """What has begun. `theirs` counts the documents that another run is at, `done` those that one has done since."""

    brief: RunConfig
    terms: RunInfo
    ledger: Ledger
    tables: Tables
    feed: Feed | PlanFeed
    known: PriorStats
    how: RunHooks
    copies: Deduplicator
    stored: StoredReplies | None = None
    theirs: int = 0
    done: int = 0
    permits: Permits | None = None
    scribe: LedgerWriter | None = None  # who writes, where that was said before
    earlier: Sequence[int] = ()  # the writers of earlier tries at the same documents

    async def take(self) -> list[Planned]:
        """The next documents that are this run's to do; none at the end."""
        while pulled := await asyncio.to_thread(self.feed.take, self.brief.settings.chunk):
            claims = await asyncio.to_thread(self.ledger.marks.claim, self.terms, pulled)
            self.feed.skip(claims.count("done"))
            self.done += claims.count("done")
            self.theirs += claims.count("theirs")
            if ours := [each for each, claim in zip(pulled, claims, strict=True) if claim == "ours"]:
                return ours
        return []

    async def chunks(
        self, pending: list[Planned], bench: RunContext, room: int, number: int = 0
    ) -> tuple[RunTotals, list[Planned]]:
        """So many documents in a window of chunks, numbered from `number` on; what became of them, and what was pulled beyond.

        Raises what stops the run where a chunk could not be staged.
        """
        tally, running, failed = RunTotals(), set[asyncio.Future[RunTotals]](), None
        try:
            while running or (pending and room):
                while pending and room and len(running) < WINDOW:
                    now, pending = pending[:room], pending[room:]
                    running.add(asyncio.ensure_future(self.how.run_chunk(Chunk(number, now, bench))))
                    room, number = room - len(now), number + 1
                    if not pending and bench.brake.error is None:
                        pending = await self.take()
                        await asyncio.to_thread(bench.bequests.refresh)
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    if isinstance(error := task.exception(), RunError):  # calls on their way are still noted
                        bench.brake.stop(error)
                        failed = failed or error
                    else:
                        tally += task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if failed:
            raise failed
        if bench.brake.error is not None and not bench.brake.hurried:
            tally += RunTotals(remaining=await asyncio.to_thread(self.feed.rest))
        return tally, pending

    async def build_context(self, stack: AsyncExitStack) -> RunContext:
        """Everything that the chunks work with; what has to be closed is on the stack."""
        asked, settings, memory, tariff = self.brief, self.brief.settings, self.ledger.memory, self.feed.tariff
        if self.how.permits and not asked.offline and self.stored is None:  # else nothing is sent that others share
            leasing = self.how.permits(asked.endpoint, asked.model, asked.limits.rpm, self.how.notify)
            self.permits = await stack.enter_async_context(leasing)
        traffic = RateLimiter(asked.limits, memory.rate(self.terms), permits=self.permits)
        brake = Shutdown(traffic, drain=settings.drain, max_time=asked.job.max_time, say=self.how.notify)
        bequests = OrphanedReplies(self.ledger.calls, self.terms, self.earlier)
        await asyncio.to_thread(bequests.refresh)
        return RunContext(
            terms=self.terms,
            schema=asked.schema,
            tariff=tariff,
            store=self.feed.store,
            form=RequestTemplate(asked.schema, ask=ASK, model=asked.model, profile=asked.profile, style=asked.style),
            caller=await caller(asked if self.stored is None else replace(asked, offline=False), traffic, stack),
            scribe=self.scribe or LedgerWriter(self.ledger.calls, self.terms, asked.budget),
            tables=self.tables,
            threads=stack.enter_context(ThreadPoolExecutor(CORES, thread_name_prefix="prepare")),
            readers=_readers(self.feed.store, stack),
            admitted=asyncio.Semaphore(asked.concurrency + 2 * CORES),
            reasks=settings.reasks,
            tell=self.how.on_document,
            brake=stack.enter_context(brake),
            pilot=FailureGuard(asked.job.fail_above),
            sentinel=BillingMonitor(
                asked.rule, tariff.text_bytes, tariff.text_tokens, measured=self.known.text_tokens is not None
            ),
            returned=ModelGuard(asked.model, memory.returned(self.terms), stops=settings.on_model_change == "stop"),
            bequests=bequests,
            copies=self.copies,
            reparse=Reparse(self.stored).ends if self.stored is not None else None,
        )

    def warnings(self, bench: RunContext | None) -> tuple[str, ...]:
        """What a person should know of a run that went well."""
        others = f"{self.theirs} documents are left to another run, which is reading them" if self.theirs else None
        unstored = self.feed.skipped + self.feed.waiting if self.stored is not None else 0
        stored = (
            f"{unstored} documents have no stored answer, of which {self.feed.skipped} are done" if unstored else None
        )
        said = [old_price(self.terms), others, stored]
        if bench:
            said += [bench.sentinel.warning(), bench.returned.warning()]
        if self.permits:
            said.append(self.permits.warning())
        return tuple(warning for warning in said if warning)

    def learned(self, bench: RunContext, *, alone: bool = True) -> None:
        """What is remembered for the next run; `alone`: the rate was all there was to be had. Meant for a thread."""
        memory, stopped = self.ledger.memory, bench.returned.stops and bench.returned.warning()
        if alone and (rate := bench.caller.traffic.sustained):
            memory.keep_rate(self.terms, rate)
        if baseline := bench.sentinel.baseline:
            memory.keep_text(self.terms, baseline)
        if bench.returned.names and not stopped:  # who stopped at another model stops again until told otherwise
            memory.keep_returned(self.terms, bench.returned.names)


def _readers(store: Store, stack: AsyncExitStack) -> ThreadPoolExecutor | None:
    """Threads that wait for bytes, where reading is waiting."""
    if store.readers == 1:
        return None
    return stack.enter_context(ThreadPoolExecutor(store.readers, thread_name_prefix="read"))
