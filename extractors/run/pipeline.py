"""pipeline: scan, bill, plan, chunks, publish; written once, for the command and for the flow.

It is told how to run a chunk (directly, or as a task of an orchestrator) and whom to tell what became of each document.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.config.run_config import resolve
from extractors.core.money import FREE
from extractors.core.totals import RunTotals
from extractors.plan.apply import ApprovedPlan
from extractors.plan.estimate import estimate
from extractors.plan.feed import Feed
from extractors.plan.sampling import REMOTE
from extractors.plan.stored_plan import StoredPlan
from extractors.record.tables.profile import recent_profiles
from extractors.record.tables.row_index import RowIndex
from extractors.record.tables.writer import Tables
from extractors.run.copies import Deduplicator
from extractors.run.drift import drifted
from extractors.run.hooks import NO_HOOKS, RunHooks
from extractors.run.result import RunCounts, RunRecord, RunResult
from extractors.run.scheduler import ChunkScheduler
from extractors.run.session import check_videos, open_session, require_approval
from extractors.run.shards.parent import sharded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.config.job import Job
    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.core import Planned
    from extractors.plan.apply import ApplyRequest
    from extractors.run.chunk import RunContext
    from extractors.run.lease import Lease

__all__ = ["NO_HOOKS", "RunHooks", "apply", "run"]
NOTHING = RunTotals()
WAITING = {  # what keeps a document of the feed waiting, beside another run that is at it
    "reparse": "have no stored answer and are not done: run without --redo",
    "apply": "have changed since they were planned, or are left to another run: plan anew",
}


async def run(job: Job, settings: Settings, how: RunHooks = NO_HOOKS) -> RunResult:
    """Does the whole job: scan, bill and plan feed chunks, which are published volume by volume.

    Raises ConfigurationError when it cannot begin: then nothing was sent and no table was written. Raises a RunError when
    what was done could not be published: the next run does that.
    """
    return await _run(resolve(job, settings), how)


async def apply(order: ApplyRequest, settings: Settings, how: RunHooks = NO_HOOKS) -> RunResult:
    """Does exactly what a stored plan says, and leaves out what has changed since. Raises as `run` does."""
    book = StoredPlan(order.url)
    agreed = await asyncio.to_thread(book.agreed)
    return await _run(order.brief(agreed, settings), how, ApprovedPlan(book, agreed, order.approved_by))


async def _run(asked: RunConfig, how: RunHooks, approved: ApprovedPlan | None = None) -> RunResult:
    if asked.job.shard_size is not None:
        return await sharded(asked, how, approved)
    job = asked.job
    async with AsyncExitStack() as stack:
        begun = await open_session(asked, how, approved, stack)
        asked, terms, price = begun.brief, begun.terms, begun.terms.price
        tariff = asked.tariff(price, begun.known)
        feed = approved.feed(asked, tariff, begun.past) if approved else Feed(asked, tariff, begun.past)
        stack.callback(feed.close)
        check_videos(asked, feed.videos)
        tables = Tables(begun.root, terms, asked.schema.model, asked.settings.keep_replies)
        copies = Deduplicator(tables, RowIndex(tables, earlier=job.redo in {None, "failed"}, offline=begun.free))
        work = ChunkScheduler(asked, terms, begun.ledger, tables, feed, begun.known, how, copies, begun.stored)
        first = await work.take()
        asks = not job.yes and price != FREE and job.budget is None
        if approved and asks:
            require_approval(asked, approved.agreed.costs, videos=feed.videos)
        elif first and (asks or job.redo):
            estimated = await asyncio.to_thread(estimate, asked, price, begun.past, begun.known, REMOTE)
            if estimated.causes:
                how.notify(estimated.causes.sentence)
            if asks:
                require_approval(asked, estimated.costs, videos=feed.videos)
        stack.enter_context(tables)
        return await _Run(work, begun.lease).all_volumes(first)


@dataclass(slots=True)
class _Run:
    """A run that has begun. `waited` counts the documents of the feed that wait and are in a row of `runs` already."""

    work: ChunkScheduler
    lease: Lease
    waited: int = 0

    async def all_volumes(self, pending: list[Planned]) -> RunResult:
        """Chunks and publishes until the feed is empty; `pending` are the documents pulled first."""
        async with AsyncExitStack() as stack:
            if not pending:
                return await self._ended(await self._published(1, RunCounts(self.work.feed.skipped), None))
            bench = await self.work.build_context(stack)
            self.lease.begins(bench.brake)
            counting = asyncio.ensure_future(asyncio.to_thread(self.work.feed.count))
            stack.callback(counting.cancel)
            counting.add_done_callback(self._expected)
            return await self._ended(await self._worked(pending, bench), bench)

    async def _worked(self, pending: list[Planned], bench: RunContext) -> RunResult:
        """Volume after volume, each published whole."""
        total, volume, skipped = RunCounts(), 1, 0
        while True:
            tally, pending = await self.work.chunks(pending, bench, self.work.brief.settings.volume)
            if wall := bench.caller.breaker.wall():
                bench.brake.stop(wall)
            counts = RunCounts(self.work.feed.skipped - skipped, tally)
            closing = await self._published(volume, counts, bench, total.tally, pending)
            total, volume, skipped = total + closing.counts, volume + 1, self.work.feed.skipped
            if not pending:
                break
        return replace(closing, counts=total)

    async def _published(
        self,
        volume: int,
        counts: RunCounts,
        bench: RunContext | None,
        before: RunTotals = NOTHING,
        ahead: Sequence[Planned] = (),
    ) -> RunResult:
        """Publishes a volume, and then tells the ledger.

        `before` is what became of the documents in earlier volumes, `ahead` are those pulled for the next one.
        """
        await self.lease.renew()
        error, left = (bench.brake.error, bench.left) if bench else (None, [])
        waiting = self.work.feed.waiting - self.waited
        self.waited += waiting
        counts += RunCounts(0, RunTotals(remaining=self.work.theirs + waiting))
        drift = await asyncio.to_thread(self._gather, before + counts.tally)
        account = RunRecord(
            self.work.terms, self.work.brief.job.fail_above, error, (*self.work.warnings(bench), *drift)
        )
        if remain := WAITING.get("reparse" if self.work.stored is not None else self.work.terms.flow):
            account = replace(account, remain=remain)
        await asyncio.to_thread(self._publish, volume, account.row(counts, volume), left, ahead)
        self.work.theirs = 0
        left.clear()
        return RunResult(account, counts, self.work.tables.results)

    def _gather(self, total: RunTotals) -> list[str]:
        """Stages what else the volume has; says where the run's answers differ from those of the runs before it."""
        terms = self.work.terms
        self.work.tables.gather(self.work.ledger.calls.unpublished(terms.run))
        now = self.work.tables.shape(accepted=total.accepted, failed=total.failed, cost_usd=total.cost_usd)
        if self.work.stored is not None:  # nothing was asked: what it cost and how often it climbed says nothing
            return []
        return drifted(now, recent_profiles(self.work.tables.root, terms.source, terms.schema, before=terms.run))

    def _publish(self, volume: int, row: dict[str, object], left: Sequence[Planned], ahead: Sequence[Planned]) -> None:
        self.work.tables.publish(row)
        self.work.ledger.marks.free(self.work.terms, [each.name for each in left])
        self.work.ledger.marks.published(self.work.terms, ahead)
        self.work.ledger.runs.published(self.work.terms.run, volume, {each.document for each in left})

    async def _ended(self, closing: RunResult, bench: RunContext | None = None) -> RunResult:
        """Nothing is left to publish: what the run has learned is remembered."""
        if bench:
            await asyncio.to_thread(self.work.learned, bench)
        await asyncio.to_thread(self.work.ledger.runs.end, self.work.terms.run, bench.bequests.used if bench else ())
        return closing

    def _expected(self, counting: asyncio.Future[int]) -> None:
        if not counting.cancelled() and counting.exception() is None:
            self.work.how.on_total(counting.result())
