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
from extractors.run.drift import drifted
from extractors.run.hooks import NO_HOOKS, RunHooks
from extractors.run.result import RunCounts, RunRecord, RunResult
from extractors.run.reuse import Deduplicator
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
    from extractors.run.context import RunContext
    from extractors.run.session import Lease

__all__ = ["NO_HOOKS", "RunHooks", "apply", "run"]
NOTHING = RunTotals()
WAITING = {  # what keeps a document of the feed waiting, beside another run that is at it
    "reparse": "have no stored answer and are not done: run without --redo",
    "apply": "have changed since they were planned, or are left to another run: plan anew",
}


async def run(job: Job, settings: Settings, hooks: RunHooks = NO_HOOKS) -> RunResult:
    """Does the whole job: scan, bill and plan feed chunks, which are published volume by volume.

    Raises ConfigurationError when it cannot begin: then nothing was sent and no table was written. Raises a RunError when
    what was done could not be published: the next run does that.
    """
    return await _run(resolve(job, settings), hooks)


async def apply(request: ApplyRequest, settings: Settings, hooks: RunHooks = NO_HOOKS) -> RunResult:
    """Does exactly what a stored plan says, and leaves out what has changed since. Raises as `run` does."""
    stored_plan = StoredPlan(request.url)
    agreed = await asyncio.to_thread(stored_plan.agreed)
    return await _run(request.brief(agreed, settings), hooks, ApprovedPlan(stored_plan, agreed, request.approved_by))


async def _run(config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None = None) -> RunResult:
    if config.job.shard_size is not None:
        return await sharded(config, hooks, approved_plan)
    job = config.job
    async with AsyncExitStack() as stack:
        session = await open_session(config, hooks, approved_plan, stack)
        config, terms, price = session.config, session.run_info, session.run_info.price
        tariff = config.tariff(price, session.prior)
        feed = (
            approved_plan.feed(config, tariff, session.history)
            if approved_plan
            else Feed(config, tariff, session.history)
        )
        stack.callback(feed.close)
        check_videos(config, feed.videos)
        tables = Tables(session.output, terms, config.schema.model, config.settings.keep_replies)
        deduplicator = Deduplicator(
            tables, RowIndex(tables, earlier=job.redo in {None, "failed"}, offline=session.free)
        )
        scheduler = ChunkScheduler(
            config, terms, session.ledger, tables, feed, session.prior, hooks, deduplicator, session.stored_replies
        )
        first = await scheduler.take()
        asks = not job.yes and price != FREE and job.budget is None
        if approved_plan and asks:
            require_approval(config, approved_plan.plan_info.costs, videos=feed.videos)
        elif first and (asks or job.redo):
            estimated = await asyncio.to_thread(estimate, config, price, session.history, session.prior, REMOTE)
            if estimated.causes:
                hooks.notify(estimated.causes.sentence)
            if asks:
                require_approval(config, estimated.costs, videos=feed.videos)
        stack.enter_context(tables)
        return await _Run(scheduler, session.lease).all_volumes(first)


@dataclass(slots=True)
class _Run:
    """A run that has begun. `waited` counts the documents of the feed that wait and are in a row of `runs` already."""

    scheduler: ChunkScheduler
    lease: Lease
    waited: int = 0

    async def all_volumes(self, pending: list[Planned]) -> RunResult:
        """Chunks and publishes until the feed is empty; `pending` are the documents pulled first."""
        async with AsyncExitStack() as stack:
            if not pending:
                return await self._ended(await self._published(1, RunCounts(self.scheduler.feed.skipped), None))
            bench = await self.scheduler.build_context(stack)
            self.lease.begin_calls(bench.shutdown)
            counting = asyncio.ensure_future(asyncio.to_thread(self.scheduler.feed.count))
            stack.callback(counting.cancel)
            counting.add_done_callback(self._expected)
            return await self._ended(await self._worked(pending, bench), bench)

    async def _worked(self, pending: list[Planned], context: RunContext) -> RunResult:
        """Volume after volume, each published whole."""
        total, volume, skipped = RunCounts(), 1, 0
        while True:
            tally, pending = await self.scheduler.chunks(pending, context, self.scheduler.config.settings.volume)
            if wall := context.services.client.breaker.check_forbidden():
                context.shutdown.stop(wall)
            counts = RunCounts(self.scheduler.feed.skipped - skipped, tally)
            closing = await self._published(volume, counts, context, total.totals, pending)
            total, volume, skipped = total + closing.counts, volume + 1, self.scheduler.feed.skipped
            if not pending:
                break
        return replace(closing, counts=total)

    async def _published(
        self,
        volume: int,
        counts: RunCounts,
        context: RunContext | None,
        before: RunTotals = NOTHING,
        ahead: Sequence[Planned] = (),
    ) -> RunResult:
        """Publishes a volume, and then tells the ledger.

        `before` is what became of the documents in earlier volumes, `ahead` are those pulled for the next one.
        """
        await self.lease.renew()
        error, left = (context.shutdown.error, context.unfinished) if context else (None, [])
        waiting = self.scheduler.feed.waiting - self.waited
        self.waited += waiting
        counts += RunCounts(0, RunTotals(remaining=self.scheduler.theirs + waiting))
        drift = await asyncio.to_thread(self._gather, before + counts.totals)
        record = RunRecord(
            self.scheduler.run_info,
            self.scheduler.config.job.fail_above,
            error,
            (*self.scheduler.warnings(context), *drift),
        )
        if remain := WAITING.get(
            "reparse" if self.scheduler.stored_replies is not None else self.scheduler.run_info.flow
        ):
            record = replace(record, remain=remain)
        await asyncio.to_thread(self._publish, volume, record.row(counts, volume), left, ahead)
        self.scheduler.theirs = 0
        left.clear()
        return RunResult(record, counts, self.scheduler.tables.result_files)

    def _gather(self, total: RunTotals) -> list[str]:
        """Stages what else the volume has; says where the run's answers differ from those of the runs before it."""
        terms = self.scheduler.run_info
        self.scheduler.tables.stage_calls_and_fields(self.scheduler.ledger.calls.iter_unpublished(terms.run))
        now = self.scheduler.tables.profile(accepted=total.accepted, failed=total.failed, cost_usd=total.cost_usd)
        if (
            self.scheduler.stored_replies is not None
        ):  # nothing was asked: what it cost and how often it climbed says nothing
            return []
        return drifted(now, recent_profiles(self.scheduler.tables.output, terms.source, terms.schema, before=terms.run))

    def _publish(self, volume: int, row: dict[str, object], left: Sequence[Planned], ahead: Sequence[Planned]) -> None:
        self.scheduler.tables.publish(row)
        self.scheduler.ledger.claims.release(self.scheduler.run_info, [each.name for each in left])
        self.scheduler.ledger.claims.mark_published(self.scheduler.run_info, ahead)
        self.scheduler.ledger.runs.mark_volume_published(
            self.scheduler.run_info.run, volume, {each.document for each in left}
        )

    async def _ended(self, result: RunResult, context: RunContext | None = None) -> RunResult:
        """Nothing is left to publish: what the run has learned is remembered."""
        if context:
            await asyncio.to_thread(self.scheduler.remember, context)
        await asyncio.to_thread(
            self.scheduler.ledger.runs.finish,
            self.scheduler.run_info.run,
            context.reuse.orphaned_replies.used if context else (),
        )
        return result

    def _expected(self, counting: asyncio.Future[int]) -> None:
        if not counting.cancelled() and counting.exception() is None:
            self.scheduler.hooks.on_total(counting.result())
