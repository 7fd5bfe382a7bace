"""Pipeline: scan, bill, plan, chunks, publish; written once, for the command and for the flow.

A run is opened once, as a session. Then its documents are scheduled in this process, or coordinated as shards on others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from extractors.core.audit import AuditCounts
from extractors.core.money import FREE
from extractors.core.totals import RunTotals
from extractors.plan.estimate import estimate
from extractors.plan.feed import Feed
from extractors.plan.sampling import REMOTE
from extractors.record.tables.profile import recent_profiles
from extractors.record.tables.writer import Tables
from extractors.run.approval import is_preapproved, require_approval, require_plan_approval
from extractors.run.drift import find_drift, find_unlike_pictures
from extractors.run.hooks import NO_HOOKS, RunHooks
from extractors.run.result import RunCounts, RunRecord, RunResult, check_listing
from extractors.run.scheduler import ChunkScheduler
from extractors.run.session import check_videos, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.config.run_config import RunConfig
    from extractors.core import Planned
    from extractors.core.errors import RunError
    from extractors.plan.apply import ApprovedPlan
    from extractors.plan.feed import DocumentFeed
    from extractors.run.audit import AuditResult
    from extractors.run.context import RunContext
    from extractors.run.session import RunSession

__all__ = ["NO_HOOKS", "RunHooks", "apply", "run"]
REMAINING = {  # why documents remain, beside those that another run is processing
    "reparse": "have no stored answer and are not done: run without --redo",
    "apply": "have changed since they were planned, or are being processed by another run: plan anew",
}


async def run(config: RunConfig, hooks: RunHooks = NO_HOOKS) -> RunResult:
    """Runs a whole job: documents are scanned, billed, planned and processed in chunks, and published in volumes.

    Raises ConfigurationError when it cannot begin: then no call was sent and no table was written. Raises a RunError when
    results could not be published: the next run publishes them.
    """
    return await _run(config, hooks, None)


async def apply(approved_plan: ApprovedPlan, hooks: RunHooks = NO_HOOKS) -> RunResult:
    """Runs exactly a stored plan, without documents that have changed since. Raises as `run`."""
    return await _run(approved_plan.config, hooks, approved_plan)


async def _run(config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None) -> RunResult:
    if config.job.shard_size is not None:
        return await _run_in_shards(config, hooks, approved_plan)
    async with AsyncExitStack() as stack:
        session = await open_session(config, hooks, approved_plan, stack)
        return await _schedule(session, hooks, stack)


async def _run_in_shards(config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None) -> RunResult:
    from extractors.run.shards.coordinator import coordinate, require_backend  # noqa: PLC0415 - 13 ms that others save

    backend = await require_backend(config, hooks)
    async with AsyncExitStack() as stack:
        session = await open_session(config, hooks, approved_plan, stack)
        return await coordinate(session, backend, hooks, stack)


async def _schedule(session: RunSession, hooks: RunHooks, stack: AsyncExitStack) -> RunResult:
    """Processes all documents in this process."""
    feed = _open_feed(session)
    stack.callback(feed.close)
    check_videos(session.config, videos=feed.videos)
    model, keep = session.config.schema.model, session.config.settings.keep_replies
    tables = Tables(session.output, session.run_info, model, keep)
    scheduler = ChunkScheduler(session, feed, tables, hooks)
    pending = await scheduler.take()
    await _approve(session, hooks, videos=feed.videos, pending=bool(pending))
    stack.enter_context(tables)
    return await _VolumeLoop(scheduler).run(pending)


def _open_feed(session: RunSession) -> DocumentFeed:
    if plan := session.approved_plan:
        from extractors.plan.apply import PlanFeed  # noqa: PLC0415 - only a stored plan needs it

        return PlanFeed(session.estimate_inputs, plan.stored_plan, plan.info)
    inputs = session.estimate_inputs
    return Feed(inputs.config, inputs.tariff, inputs.history)


async def _approve(session: RunSession, hooks: RunHooks, *, videos: bool, pending: bool) -> None:
    """Estimates the cost where that matters, and has it approved. Raises as `require_approval`."""
    config = session.config
    needs_approval = not is_preapproved(config) and session.run_info.price != FREE
    if plan := session.approved_plan:
        if needs_approval:
            await require_plan_approval(session, plan, hooks)
    elif pending and (needs_approval or config.job.redo):
        estimated = await asyncio.to_thread(estimate, session.estimate_inputs, REMOTE)
        if estimated.causes:
            hooks.notify(estimated.causes.sentence)
        if estimated.audit:
            hooks.notify(estimated.audit.words)
        if needs_approval:
            documents = estimated.documents - estimated.rejected
            await require_approval(config, estimated.costs, hooks.confirm, documents=documents, videos=videos)


@dataclass(slots=True)
class _VolumeLoop:
    """Processes and publishes volume after volume. `waiting` counts the waiting documents that are published already."""

    scheduler: ChunkScheduler
    waiting: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)  # as published by earlier volumes
    audit: AuditResult | None = None  # None before all documents have ended

    async def run(self, pending: list[Planned]) -> RunResult:
        """Processes documents until the feed is empty; `pending` are the first of them."""
        async with AsyncExitStack() as stack:
            if not pending:
                result = await self._publish_volume(1, self.scheduler.count_skipped(), None)
                return await self._end(result)
            context = await self.scheduler.build_context(stack)
            counting = asyncio.ensure_future(asyncio.to_thread(self.scheduler.feed.count))
            stack.callback(counting.cancel)
            counting.add_done_callback(self._report_total)
            return await self._end(await self._run_volumes(pending, context), context)

    async def _run_volumes(self, pending: list[Planned], context: RunContext) -> RunResult:
        total, volume, skipped = RunCounts(), 1, RunCounts()
        scheduler = self.scheduler
        while True:
            totals, pending = await scheduler.run_chunks(pending, context, scheduler.session.config.settings.volume)
            if forbidden := context.services.client.breaker.check_forbidden():
                context.shutdown.stop(forbidden)
            if not pending:
                totals += await self._audit(context)
            now_skipped = scheduler.count_skipped()
            counts = now_skipped.since(skipped) + RunCounts(0, totals)
            result = await self._publish_volume(volume, counts, context, total.totals, pending)
            total, volume, skipped = total + result.counts, volume + 1, now_skipped
            if not pending:
                return replace(result, counts=total)

    async def _audit(self, context: RunContext) -> RunTotals:
        """Reads the sample of the audit, if the job has one; returns what that took."""
        if context.answers.auditor is None:
            return RunTotals()
        self.audit = await context.answers.auditor.run(context)
        return self.audit.totals

    async def _publish_volume(
        self,
        volume: int,
        counts: RunCounts,
        context: RunContext | None,
        earlier: RunTotals | None = None,
        ahead: Sequence[Planned] = (),
    ) -> RunResult:
        """Publishes a volume, and then records that in the ledger.

        `earlier` are the totals of earlier volumes, `ahead` the documents that were taken for the next one.
        """
        scheduler = self.scheduler
        await scheduler.session.lease.renew()
        error, unfinished = (context.shutdown.error, context.unfinished) if context else (None, [])
        waiting = scheduler.feed.waiting - self.waiting
        self.waiting += waiting
        counts += RunCounts(0, RunTotals(remaining=scheduler.claimed_elsewhere + waiting))
        drift = await asyncio.to_thread(self._gather, (earlier or RunTotals()) + counts.totals)
        record = self._record(error, (*scheduler.warnings(context), *drift))
        await asyncio.to_thread(self._publish, volume, record.row(counts, volume), unfinished, ahead)
        scheduler.claimed_elsewhere = 0
        unfinished.clear()
        self.passed_over = Counter(scheduler.feed.listing.passed_over)
        return RunResult(replace(record, passed_over=self.passed_over), counts, scheduler.tables.result_files)

    def _record(self, error: RunError | None, warnings: tuple[str, ...]) -> RunRecord:
        session, listing = self.scheduler.session, self.scheduler.feed.listing
        record = RunRecord(
            session.run_info,
            session.config.job.fail_above,
            check_listing(listing, error),
            (*warnings, *listing.warnings),
            passed_over=listing.passed_over - self.passed_over,
            audit=self.audit.counts if self.audit else AuditCounts() if session.config.job.audit else None,
        )
        kind = "reparse" if session.stored_replies is not None else session.run_info.flow
        return replace(record, remain=REMAINING[kind]) if kind in REMAINING else record

    def _gather(self, total: RunTotals) -> list[str]:
        """Stages calls and fields; returns warnings where the answers differ from those of earlier runs. Blocks."""
        session, tables = self.scheduler.session, self.scheduler.tables
        run_info = session.run_info
        warnings = self._judge_audit()
        tables.stage_calls_and_fields(session.ledger.calls.iter_unpublished(run_info.run))
        if session.stored_replies is not None:  # without calls, cost and climbs are no drift
            return []
        drift: list[str] = []
        if recent := recent_profiles(session.output, run_info.source, run_info.schema, before=run_info.run):
            profile = tables.profile(accepted=total.accepted, failed=total.failed, cost_usd=total.cost_usd)
            drift += find_drift(profile, recent)
        return [*warnings, *drift, *find_unlike_pictures(tables.volume, session.config.tuning.score)]

    def _judge_audit(self) -> list[str]:
        if self.audit is None:
            return []
        from extractors.run.audit import judge_audit  # noqa: PLC0415 - only a run with an audit needs it

        return judge_audit(self.scheduler.session, self.audit)

    def _publish(
        self, volume: int, row: dict[str, object], unfinished: Sequence[Planned], ahead: Sequence[Planned]
    ) -> None:
        session = self.scheduler.session
        ledger, run_info = session.ledger, session.run_info
        with ledger.output_leases.hold(str(session.output)):
            self.scheduler.tables.publish(row)
        ledger.claims.release(run_info, [each.name for each in unfinished])
        ledger.claims.mark_published(run_info, ahead)
        ledger.runs.mark_volume_published(run_info.run, volume, {each.document for each in unfinished})

    async def _end(self, result: RunResult, context: RunContext | None = None) -> RunResult:
        """Ends the run in the ledger, and stores what the next run needs."""
        session = self.scheduler.session
        used = context.reuse.orphaned_replies.used if context else ()
        if context:
            await asyncio.to_thread(self.scheduler.remember, context)
        await asyncio.to_thread(session.ledger.runs.finish, session.run_info.run, used)
        return result

    def _report_total(self, counting: asyncio.Future[int]) -> None:
        if not counting.cancelled() and counting.exception() is None:
            self.scheduler.hooks.on_total(counting.result())
