"""Parent: a run whose documents are worked on elsewhere: it plans, has shards started, folds what they staged, commits once.

What shards have staged or were answered is not done again. A parent that is killed is taken over by the next run, as any
run is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.call.rate_limit import RateLimiter
from extractors.config.prices import warn_old_price
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE
from extractors.core.shards import split_plan
from extractors.core.totals import RunTotals
from extractors.plan.feed import Feed
from extractors.plan.stored_plan import StoredPlan, store_plan
from extractors.record.output.base import reading, writing
from extractors.record.tables.profile import recent_profiles
from extractors.record.tables.replies import load_history_with_replies
from extractors.record.tables.writer import Tables
from extractors.run.drift import drifted
from extractors.run.recovery import totals_from_tables
from extractors.run.result import RunCounts, RunRecord, RunResult
from extractors.run.session import check_videos, open_session, require_approval
from extractors.run.shards.coordinator import ShardCoordinator
from extractors.run.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extractors.config.run_config import RunConfig
    from extractors.core import Name
    from extractors.core.errors import RunError
    from extractors.plan.apply import ApprovedPlan
    from extractors.plan.stored_plan import PlanInfo
    from extractors.record.tables.history import RunHistory
    from extractors.run.hooks import RunHooks
    from extractors.run.session import RunSession

LATE = 4.0  # seconds more than a shard has: it hears late that it is to stop
REMAIN = "have changed since they were planned, or are left to another run"


async def sharded(config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None = None) -> RunResult:
    """Does what `pipeline.run` does, on as many workers as there are. Raises as that does."""
    size = config.job.shard_size
    if hooks.shards is None or size is None:
        raise ConfigurationError(
            f"--shard-size {size} needs a Prefect server with the deployment shard, and workers: set PREFECT_API_URL, and"
            " run it with --prefect, or leave it out"
        )
    await hooks.shards.ready()
    async with AsyncExitStack() as stack:
        session = await open_session(config, hooks, approved_plan, stack)
        skipped, videos = 0, False
        if approved_plan is None:
            videos = _videos(session)
            check_videos(session.config, videos)
            estimated, url = await asyncio.to_thread(store_plan, session.config)
            if estimated.causes:
                hooks.notify(estimated.causes.sentence)
            skipped, costs = estimated.skipped, estimated.costs
            book = StoredPlan(url) if url else None
            agreed = await asyncio.to_thread(book.agreed) if book else None
        else:
            book, agreed, costs = approved_plan.stored_plan, approved_plan.plan_info, approved_plan.plan_info.costs
        job = config.job
        if agreed and not job.yes and session.run_info.price != FREE and job.budget is None:
            require_approval(session.config, costs, videos=videos)
        tables = stack.enter_context(
            Tables(session.output, session.run_info, config.schema.model, config.settings.keep_replies)
        )
        if book is None or agreed is None:
            return await _Fold(session, tables, book).published(RunCounts(skipped), None)
        done = await asyncio.to_thread(_done, session, book, approved_plan)
        pieces = split_plan(book.url, session.run_info.run, agreed.documents, size, offline=session.free)
        hooks.on_total(agreed.documents - done)
        shutdown = stack.enter_context(
            Shutdown(
                RateLimiter(session.config.limits),
                drain=config.settings.drain + LATE,
                max_time=job.max_time,
                say=hooks.notify,
            )
        )
        session.lease.begin_calls(shutdown)
        watch = ShardCoordinator(session, hooks.shards, shutdown, hooks, deque(pieces))
        await watch.all_ended()
        counts = RunCounts(skipped, RunTotals(remaining=agreed.documents))
        return await _Fold(session, tables, book, agreed, done, watch).published(counts, shutdown.error)


def _videos(session: RunSession) -> bool:
    """Whether the source may hold videos that are to be sent."""
    feed = Feed(session.config, session.config.tariff(session.run_info.price, session.prior))
    feed.close()
    return feed.videos


def _done(session: RunSession, stored_plan: StoredPlan, approved_plan: ApprovedPlan | None) -> int:
    """How many documents of the plan were done since it was made, or are done as the plan's job counts."""
    if approved_plan is None:
        return 0
    with reading(session.output):
        names = stored_plan.names().collect()
    return _count(session.history, session, approved_plan.plan_info, names.iter_rows())


def _count(history: RunHistory, session: RunSession, plan_info: PlanInfo, names: Iterable[Name]) -> int:
    """How many of these documents of a plan are done by what is published."""
    redo, at = session.config.job.redo, plan_info.planned_at
    return sum(history.skips(name, redo) or history.has_ended(name, at) for name in names)


@dataclass(frozen=True, slots=True)
class _Fold:
    """Everything that shards have staged and noted, as one volume. `done`: documents that were done at the outset."""

    session: RunSession
    tables: Tables
    stored_plan: StoredPlan | None
    plan_info: PlanInfo | None = None
    done: int = 0
    watch: ShardCoordinator | None = None

    async def published(self, planned: RunCounts, error: RunError | None) -> RunResult:
        """Publishes it. `planned` counts as remaining what the tables do not say the end of."""
        await self.session.lease.renew()
        return await asyncio.to_thread(self._published, planned, error)

    def _published(self, planned: RunCounts, error: RunError | None) -> RunResult:
        begun, tables, volume = self.session, self.tables, self.tables.volume
        ledger, terms = begun.ledger, begun.run_info
        tables.stage_calls_and_fields(ledger.calls.iter_unpublished(terms.run))
        with writing(begun.output):
            for piece in self.watch.torn if self.watch else ():
                volume.drop_torn_images(volume.staged_documents(piece.parts), piece.parts)
            totals = totals_from_tables(volume, remaining=0)
            left = volume.unfinished_documents()
            waiting = self._waiting()
        done = self._done_meanwhile(waiting)
        totals += RunTotals(remaining=planned.totals.remaining - totals.done - done)
        now = tables.profile(accepted=totals.accepted, failed=totals.failed, cost_usd=totals.cost_usd)
        drift = drifted(now, recent_profiles(begun.output, terms.source, terms.schema, before=terms.run))
        warnings = self.watch.warnings if self.watch else ()
        said = dict.fromkeys(
            each for each in (warn_old_price(terms), *warnings, *drift) if each
        )  # shards say some of them, too
        record = RunRecord(terms, begun.config.job.fail_above, error, tuple(said), REMAIN)
        counts = RunCounts(planned.skipped + done, totals)
        tables.publish(record.row(counts, 1))
        ledger.claims.release(terms, waiting)
        ledger.claims.mark_published(terms, ())
        ledger.runs.mark_volume_published(terms.run, 1, left)
        ledger.runs.finish(terms.run)
        return RunResult(record, counts, tables.result_files)

    def _waiting(self) -> list[Name]:
        """The documents of the plan with which no shard has come to an end: whoever comes next may take them."""
        if self.stored_plan is None:
            return []
        ends = self.tables.volume.scan_finished()
        return (
            self.stored_plan.names()
            .join(ends, on=["document", "version"], how="anti", nulls_equal=True)
            .collect()
            .rows()
        )

    def _done_meanwhile(self, waiting: Sequence[Name]) -> int:
        """How many of them another run has done, at the outset or since: by what is published, or by what shards say.

        Each knows what the other may not: under `--redo all` nothing that is published counts, and a shard that waited for
        its worker has found in the tables what another run did meanwhile.
        """
        if self.plan_info is None or self.watch is None or not waiting:
            return 0
        begun, job = self.session, self.session.config.job
        past, _ = load_history_with_replies(
            begun.output, begun.run_info, offline=begun.free, redo=job.redo, kind=job.kind
        )
        said = self.done + sum(self.watch.skipped.values())
        return max(said, _count(past, begun, self.plan_info, waiting))
