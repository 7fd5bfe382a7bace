"""Trial: does one document and keeps everything that happened for a person to see; `tilewise try`.

Its calls go through the same planning, preparation, retries and ledger as those of a run. They are published in `calls`,
`images`, `failures` and `runs` (flow `try`), and never in `results`: the document is still to be done.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from extractors.config.run_config import prior_stats
from extractors.core import Accepted, Copied, Failed, Unfinished
from extractors.core.document_totals import totals_of
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE
from extractors.plan.feed import Feed
from extractors.record.ledger import Ledger
from extractors.record.output import open_output
from extractors.record.tables.history import FAILURE_COLUMNS, OUTCOME_COLUMNS, RunHistory
from extractors.record.tables.row_index import RowIndex
from extractors.record.tables.rows import failure_row, image_rows
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables
from extractors.run.approval import require_approval
from extractors.run.chunk import run_document
from extractors.run.context import Reuse
from extractors.run.recovery import recover_abandoned
from extractors.run.result import RunCounts, RunRecord
from extractors.run.reuse import Deduplicator, OrphanedReplies
from extractors.run.scheduler import ChunkScheduler
from extractors.run.session import Lease, RunSession, check_videos, price_in_force

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.core import DocumentResult, Planned
    from extractors.core.errors import RunError
    from extractors.run.hooks import RunHooks

FLOW = "try"
PART = PartId(0)


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What became of the document, and its row of `runs`."""

    config: RunConfig
    record: RunRecord
    document: Accepted | Failed | Unfinished
    row: dict[str, object]

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 not accepted, 2 stopped by an error, 3 stopped by a limit or a person."""
        if self.record.error:
            return self.record.error.exit_code
        return int(not isinstance(self.document, Accepted))


async def run_trial(config: RunConfig, hooks: RunHooks) -> TrialResult:
    """Does the one document of the job. Raises ConfigurationError when it cannot begin, as a run does."""
    async with AsyncExitStack() as stack:
        session = await open_trial(config, hooks, stack, FLOW)
        tables = Tables(session.output, session.run_info, config.schema.model, config.settings.keep_replies)
        feed = Feed(session.config, session.estimate_inputs.tariff)
        stack.callback(feed.close)
        scheduler = ChunkScheduler(session, feed, tables, hooks)
        planned = await _take_document(feed)
        if planned.problem is None and session.run_info.price != FREE:
            check_videos(session.config, videos=feed.videos)
            videos = feed.videos
            await require_approval(session.config, planned.costs, hooks.confirm, documents=1, videos=videos)
        stack.enter_context(tables)
        return await _Trial(scheduler, planned).run()


async def open_trial(config: RunConfig, hooks: RunHooks, stack: AsyncExitStack, flow: str) -> RunSession:
    """Adds a trial of this flow to the ledger. It reads no history: a document that is done is done again."""
    ledger = stack.enter_context(Ledger(config.settings.ledger))
    config = config.with_calibration(ledger.memory)
    config = config.with_stored_tuning(ledger.memory) if flow == FLOW else config  # others read every rung
    if config.tuning.description:
        hooks.notify(config.tuning.description)
    price, offline = await price_in_force(config, ledger)
    run_info = replace(config.run_info(price), flow=flow)
    lease = await stack.enter_async_context(Lease(ledger, run_info))
    keep = config.settings.keep_replies
    await asyncio.to_thread(recover_abandoned, ledger, run_info, config.schema, keep, hooks.notify)
    history = RunHistory(pl.DataFrame(schema=OUTCOME_COLUMNS), pl.DataFrame(schema=FAILURE_COLUMNS))
    prior = prior_stats(ledger.memory, run_info.fingerprint)
    return RunSession(config, run_info, ledger, lease, open_output(config.output), prior, history, offline=offline)


async def _take_document(feed: Feed) -> Planned:
    """Plans the only document of the source. Raises ConfigurationError where there are more."""
    first, *others = await asyncio.to_thread(feed.take, 2)
    if others:
        raise ConfigurationError(
            f"{first.document} is not the only document there, {others[0].document} is another: name one image, or join"
            " its pages with --document-by"
        )
    return first


@dataclass(slots=True)
class _Trial:
    """A trial that may call."""

    scheduler: ChunkScheduler
    planned: Planned

    async def run(self) -> TrialResult:
        """Does the document, and publishes what happened."""
        session = self.scheduler.session
        result, error, warnings = await self._do_document()
        record = RunRecord(session.run_info, error=error, warnings=warnings)
        row = record.row(RunCounts(0, totals_of(result)), 1)
        await session.lease.renew()
        await asyncio.to_thread(self._publish, result, row)
        return TrialResult(session.config, record, result, row)

    async def _do_document(self) -> tuple[Accepted | Failed | Unfinished, RunError | None, tuple[str, ...]]:
        """The document as it ended, the error that stopped it, and warnings; a rejected one is not sent."""
        if self.planned.problem is not None:
            return Failed(self.planned, (), None, datetime.now(UTC), self.planned.problem), None, ()
        scheduler, tables, session = self.scheduler, self.scheduler.tables, self.scheduler.session
        async with AsyncExitStack() as stack:
            context = await scheduler.build_context(stack)
            index = RowIndex(tables, earlier=False, offline=session.offline)
            replies = OrphanedReplies(session.ledger.calls, session.run_info)  # none: they are for runs, which publish
            context = replace(context, reuse=Reuse(Deduplicator(tables, index), replies))
            task = asyncio.ensure_future(run_document(self.planned, context))
            context.shutdown.track(task)
            result = await task
            assert not isinstance(result, Copied)
            return result, context.shutdown.error, scheduler.warnings(context)

    def _publish(self, result: DocumentResult, row: dict[str, object]) -> None:
        """Publishes calls, images, a failure that counts as no try, and the row of `runs`."""
        session, tables = self.scheduler.session, self.scheduler.tables
        run_info, ledger, volume = session.run_info, session.ledger, tables.volume
        if isinstance(result, Accepted | Failed):
            volume.stage("images", PART, image_rows(result, run_info))
        if isinstance(result, Failed):
            volume.stage("failures", PART, [failure_row(result, run_info) | {"final": False, "tries": 0}])
        volume.stage_calls(ledger.calls.iter_unpublished(run_info.run), session.config.settings.keep_replies)
        tables.publish(row)
        ledger.runs.mark_volume_published(run_info.run, 1, ())
        ledger.runs.finish(run_info.run)
