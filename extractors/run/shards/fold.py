"""Fold: everything that shards have staged is published as one volume of their run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from extractors.config.prices import warn_old_price
from extractors.core.audit import AuditCounts
from extractors.core.money import Costs
from extractors.core.totals import RunTotals
from extractors.record.output.base import writing
from extractors.record.tables.profile import recent_profiles
from extractors.record.tables.replies import load_history_with_replies
from extractors.run.audit import judge_audit
from extractors.run.drift import find_drift, find_unlike_pictures
from extractors.run.recovery import totals_from_tables
from extractors.run.result import RunCounts, RunRecord, RunResult, check_listing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from extractors.core import Name
    from extractors.core.errors import RunError
    from extractors.core.shards import ShardSpec
    from extractors.plan.apply import ApprovedPlan
    from extractors.plan.stored_plan import PlanInfo
    from extractors.record.tables.history import RunHistory
    from extractors.record.tables.writer import Tables
    from extractors.run.audit import AuditResult
    from extractors.run.session import RunSession
    from extractors.scan import Listing

REMAIN = "have changed since they were planned, or are being processed by another run"


@dataclass(frozen=True, slots=True)
class ShardsOutcome:
    """How the shards of a run ended.

    `cut_off` are shards whose last attempt was cut off, `skipped` the documents that shards found done by another run.
    `audit` is None where the job has none.
    """

    cut_off: Sequence[ShardSpec] = ()
    skipped: int = 0
    warnings: Sequence[str] = ()
    error: RunError | None = None
    audit: AuditResult | None = None


@dataclass(frozen=True, slots=True)
class ShardFold:
    """What is folded. `done` counts the planned documents that were done when the run began, `skipped` the others."""

    session: RunSession
    tables: Tables
    plan: ApprovedPlan
    outcome: ShardsOutcome
    listing: Listing
    done: int = 0
    skipped: RunCounts = field(default_factory=RunCounts)

    async def publish(self) -> RunResult:
        """Publishes the volume, and ends the run in the ledger."""
        await self.session.lease.renew()
        return await asyncio.to_thread(self._publish)

    def _publish(self) -> RunResult:
        session, tables, volume = self.session, self.tables, self.tables.volume
        tables.stage_calls_and_fields(session.ledger.calls.iter_unpublished(session.run_info.run))
        with writing(session.output):
            for spec in self.outcome.cut_off:
                volume.drop_torn_images(volume.staged_documents(spec.number), spec.number)
            totals = totals_from_tables(volume, 0, session.config.rule)
            unfinished = volume.unfinished_documents()
            waiting = self._waiting()
        done = self._count_done(waiting)
        totals += RunTotals(remaining=self.plan.info.documents - totals.done - done)
        audit = self.outcome.audit
        judged = judge_audit(session, audit) if audit else []
        warnings = (*self.outcome.warnings, *judged, *_find_drift(session, tables, totals))
        counts = self.skipped + RunCounts(
            done, totals + RunTotals(estimated=audit.totals.estimated if audit else Costs())
        )
        record = replace(
            _record(session, self.outcome.error, warnings, self.listing), audit=audit.counts if audit else None
        )
        return _publish_row(session, tables, counts, record, (waiting, unfinished))

    def _waiting(self) -> list[Name]:
        """The documents of the plan that no shard has ended: the next run may take them."""
        ends = self.tables.volume.scan_finished()
        names = self.plan.stored_plan.names()
        return names.join(ends, on=["document", "version"], how="anti", nulls_equal=True).collect().rows()

    def _count_done(self, waiting: Sequence[Name]) -> int:
        """Counts the documents that another run has done, by what is published or by what shards report.

        Each knows what the other may not: under `--redo all` nothing that is published counts, and a shard that waited for
        a worker has found in the tables what another run did meanwhile.
        """
        if not waiting:
            return 0
        session, job = self.session, self.session.config.job
        history, _ = load_history_with_replies(
            session.output, session.run_info.fingerprint, job.redo_scope, offline=session.offline
        )
        return max(self.done + self.outcome.skipped, count_done(history, session, self.plan.info, waiting))


async def publish_nothing(session: RunSession, tables: Tables, skipped: RunCounts, listing: Listing) -> RunResult:
    """Publishes a run that has nothing to do, and ends it in the ledger."""
    await session.lease.renew()
    record = replace(_record(session, None, (), listing), audit=AuditCounts() if session.config.job.audit else None)
    return await asyncio.to_thread(_publish_row, session, tables, skipped, record, ((), ()))


def count_done(history: RunHistory, session: RunSession, info: PlanInfo, names: Iterable[Name]) -> int:
    """Counts the documents of a plan that are done by what is published."""
    redo = session.config.job.redo
    return sum(history.skips(name, redo) or history.has_ended(name, info.planned_at) for name in names)


def _find_drift(session: RunSession, tables: Tables, totals: RunTotals) -> list[str]:
    run_info = session.run_info
    profile = tables.profile(accepted=totals.accepted, failed=totals.failed, cost_usd=totals.cost_usd)
    recent = recent_profiles(session.output, run_info.source, run_info.schema, before=run_info.run)
    return [*find_drift(profile, recent), *find_unlike_pictures(tables.volume, session.config.tuning.score)]


def _record(session: RunSession, error: RunError | None, warnings: Sequence[str], listing: Listing) -> RunRecord:
    run_info = session.run_info
    candidates = (warn_old_price(run_info), *session.config.warnings, *listing.warnings, *warnings)
    distinct = dict.fromkeys(each for each in candidates if each)  # shards repeat some
    error = check_listing(listing, error)
    fail_above = session.config.job.fail_above
    return RunRecord(run_info, fail_above, error, tuple(distinct), REMAIN, passed_over=listing.passed_over)


def _publish_row(
    session: RunSession,
    tables: Tables,
    counts: RunCounts,
    record: RunRecord,
    left: tuple[Collection[Name], Collection[str]],
) -> RunResult:
    """Publishes the volume with the run's row. `left` are the names of waiting, and the ids of unfinished documents."""
    ledger, run_info = session.ledger, session.run_info
    waiting, unfinished = left
    with ledger.output_leases.hold(str(session.output)):
        tables.publish(record.row(counts, 1))
    ledger.claims.release(run_info, waiting)
    ledger.claims.mark_published(run_info, ())
    ledger.runs.mark_volume_published(run_info.run, 1, unfinished)
    ledger.runs.finish(run_info.run)
    return RunResult(record, counts, tables.result_files)
