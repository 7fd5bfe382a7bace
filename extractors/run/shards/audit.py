"""Audit of a run in shards: its coordinator draws random documents from what all shards have staged, and reads them again.

So the sample is one of the whole run, however its documents are divided: each that may be audited is as likely as any other.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import polars as pl

from extractors.core.errors import ConfigurationError, RunError
from extractors.plan.apply import PlanFeed, PlanRange
from extractors.record.output.base import writing
from extractors.run.audit import AuditDocument, AuditResult, read_again
from extractors.run.scheduler import ChunkScheduler
from extractors.run.shards.audit_witness import AuditWitness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.core import Name, Planned
    from extractors.plan.apply import ApprovedPlan
    from extractors.record.tables.rows import Row
    from extractors.record.tables.writer import Tables
    from extractors.run.context import RunContext
    from extractors.run.hooks import RunHooks
    from extractors.run.session import RunSession
    from extractors.run.shutdown import Shutdown

# Rows that may be below the top: of one page whose picture was made smaller, or of several, of which the plan tells.
_CANDIDATES = pl.col("_copied_from").is_null() & ((pl.col("_action") == "resize") | (pl.col("_pages").list.len() > 1))
_BATCH = 1000  # rows that are drawn at once


@dataclass(frozen=True, slots=True)
class ShardAudit:
    """The audit of a run whose shards have ended, before their rows are published."""

    session: RunSession
    tables: Tables
    plan: ApprovedPlan
    shutdown: Shutdown
    hooks: RunHooks

    async def run(self) -> AuditResult | None:
        """Reads the sample at the top rung, unless the run was stopped; None where the job has no audit."""
        size = self.session.config.job.audit
        if size is None:
            return None
        if self.shutdown.error is not None:
            return AuditResult(stopped=True)
        try:
            sample = await asyncio.to_thread(self._draw, size)
            return await self._read(sample) if sample else AuditResult()
        except (ConfigurationError, RunError) as error:  # what the shards have done is kept
            self.shutdown.stop(RunError(f"the audit has failed: {error.message}"))
            return AuditResult(stopped=True)

    async def _read(self, sample: Sequence[AuditDocument]) -> AuditResult:
        session, plan = self.session, self.plan
        nothing = PlanRange(0, 0)
        async with AsyncExitStack() as stack:
            feed = await asyncio.to_thread(PlanFeed, session.estimate_inputs, plan.stored_plan, plan.info, nothing)
            stack.callback(feed.close)
            scheduler = ChunkScheduler(session, feed, self.tables, self.hooks)
            context = await scheduler.build_context(stack, self.shutdown)
            documents = [replace(each, planned=feed.complete(each.planned)) for each in sample]
            result = await self._compare(documents, context)
            await asyncio.to_thread(session.ledger.runs.mark_used, context.reuse.orphaned_replies.used)
        return result

    async def _compare(self, sample: Sequence[AuditDocument], context: RunContext) -> AuditResult:
        """Reads the sample, and has the witness look at it meanwhile, where the job has one."""
        if context.services.witness is None:
            return await read_again(sample, context)
        witness = AuditWitness(self.session, self.tables, context.services.witness)
        restored = await asyncio.to_thread(witness.restore, sample)
        looking = asyncio.create_task(witness.look(restored, sample))
        result = await read_again(sample, context)
        try:
            warning = await looking
        except RunError as error:  # the audit was paid for: it counts
            warning = f"the witness of the audit has failed: {error.message}"
        return replace(result, notes=(warning,) if warning else ())

    def _draw(self, size: int) -> list[AuditDocument]:
        """Draws documents until as many as the job says may be audited, or none is left."""
        rows = self.tables.volume.scan_results()
        if rows is None:
            return []
        sample: list[AuditDocument] = []
        with writing(self.session.output):
            candidates = rows.filter(_CANDIDATES).with_row_index("place")
            count = candidates.select(pl.len()).collect().item()
            places = random.Random(self.session.run_info.run).sample(range(count), count)  # noqa: S311 - a sample, no secret
            for first in range(0, count, _BATCH):
                drawn = places[first : first + _BATCH]
                batch = candidates.filter(pl.col("place").is_in(drawn)).collect().to_dicts()
                sample += self._select({row["place"]: row for row in batch}, drawn)
                if len(sample) >= size:
                    break
        return sample[:size]

    def _select(self, rows: Mapping[int, Row], places: Sequence[int]) -> list[AuditDocument]:
        """Those of these rows that were accepted below the top rung, in this order."""
        plans = self.plan.stored_plan.find_documents([_name(row) for row in rows.values()])
        documents = [str(row["_document"]) for row in rows.values()]
        attempts = self.session.ledger.calls.last_attempts(self.session.run_info.run, documents)
        below = [
            (plans[name], rows[place])
            for place in places
            if (name := _name(rows[place])) in plans and _is_below_top(plans[name], rows[place])
        ]
        return [AuditDocument(planned, attempts.get(planned.document, 0), row) for planned, row in below]


def _name(row: Row) -> Name:
    return cast("Name", (row["_document"], row["_version"]))


def _is_below_top(planned: Planned, row: Row) -> bool:
    """Whether the top of the ladder sends other pictures than those of the published answer, as `is_below_top` does.

    Of a document of several pages whose first one is sent whole on lower rungs, too, the tokens of its only call decide.
    """
    if planned.rungs < 2:
        return False
    top = planned.steps(planned.rungs - 1)
    if (row["_sent_width"], row["_sent_height"]) != (top[0].size.width, top[0].size.height):
        return True
    tokens = cast("int", row["_image_tokens_estimated"])
    return row["_attempts"] == 1 and tokens < sum(step.tokens for step in top)
