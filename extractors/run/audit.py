"""Audit: random accepted documents below the top rung are read once more at the top, when all others have ended.

The answers are compared and never published: two rungs can be wrong together, so that they agree proves nothing. The calls
are reserved, recorded and paid like all others; in `calls` their rung is 0, which no ladder has. A run that is stopped or
killed before has no audit, or that of the documents that were read.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from extractors.bill import estimate_costs
from extractors.core import Accepted, Failed
from extractors.core.audit import AuditCounts, have_same_values
from extractors.core.document_totals import usage_of
from extractors.core.money import Costs, sum_known
from extractors.core.totals import RunTotals
from extractors.core.tuning import parse_tuning
from extractors.record.tables.row_index import RowIndex
from extractors.run.chunk import run_document
from extractors.run.context import Reuse
from extractors.run.reuse import Deduplicator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.bill import Tariff
    from extractors.core import DocumentResult, LadderStep, Planned, PlannedPage
    from extractors.run.context import RunContext
    from extractors.run.session import RunSession

AUDIT_RUNG = 0


@dataclass(frozen=True, slots=True)
class AuditDocument:
    """A document that is read again: its plan, the number of its last attempt, and the row of its published answer."""

    planned: Planned
    attempts: int
    row: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What an audit found, and what it took.

    `sample` counts the documents that were to be read again, `failed` those of them without an accepted answer at the top;
    `stopped`: the run was stopped before any was read again; `notes` are further warnings.
    """

    counts: AuditCounts = field(default_factory=AuditCounts)
    totals: RunTotals = field(default_factory=RunTotals)
    sample: int = 0
    failed: int = 0
    stopped: bool = False
    notes: tuple[str, ...] = ()

    def __add__(self, other: AuditResult) -> AuditResult:
        """Both together."""
        return AuditResult(
            self.counts.plus(other.counts),
            self.totals + other.totals,
            self.sample + other.sample,
            self.failed + other.failed,
            notes=(*self.notes, *other.notes),
        )

    @property
    def warnings(self) -> list[str]:
        """Why documents of the sample are not among those that were compared."""
        if self.stopped:
            return ["audit: no document was read again: the run was stopped"]
        unread = self.sample - self.failed - self.counts.audited
        sample = f"of {self.sample:,} documents"
        warnings = [f"audit: {self.failed:,} {sample} have no accepted answer at the top rung"] if self.failed else []
        stopped = [f"audit: {unread:,} {sample} were not read again: the run was stopped"] if unread else []
        return [*warnings, *stopped, *self.notes]


class Auditor:
    """Keeps a random sample of the documents that were accepted below the top rung, and reads it again."""

    def __init__(self, size: int, seed: str) -> None:
        """`size`: of the sample; the same seed and the same order of results give the same sample."""
        self._size, self._random = size, random.Random(seed)  # noqa: S311 - a sample, no secret
        self._sample: list[Accepted] = []
        self._seen = 0

    def observe(self, result: DocumentResult) -> None:
        """Adds an accepted document to the sample by chance (reservoir sampling, Vitter 1985)."""
        if not isinstance(result, Accepted) or not is_below_top(result):
            return
        self._seen += 1
        if len(self._sample) < self._size:
            self._sample.append(result)
        elif (place := self._random.randrange(self._seen)) < self._size:
            self._sample[place] = result

    def holds(self, result: DocumentResult) -> bool:
        """Whether this result is in the sample now; a later one may take its place."""
        return any(each is result for each in self._sample)

    async def run(self, context: RunContext) -> AuditResult:
        """Reads the sample at the top rung, unless the run was stopped. What stops the run ends the audit, too."""
        sample, self._sample = self._sample, []
        if context.shutdown.error is not None:
            return AuditResult(stopped=True)
        tables = context.services.tables
        documents = [AuditDocument(each.planned, len(each.attempts), tables.build_row(each)) for each in sample]
        return await read_again(documents, context)


async def read_again(documents: Sequence[AuditDocument], context: RunContext) -> AuditResult:
    """Reads these documents at the top of their ladder, and compares the answers with the published ones."""
    if not documents:
        return AuditResult()
    apart = _build_context(context)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_read(document, apart)) for document in documents]
        for task in tasks:
            context.shutdown.track(task)
    return sum((task.result() for task in tasks), AuditResult())


def is_audit_call(call: Mapping[str, object]) -> bool:
    """Whether a call of the ledger is one of an audit, as `AUDIT_CALL` says of the table."""
    return call["rung"] == AUDIT_RUNG and call["sent_width"] is not None


def is_below_top(accepted: Accepted) -> bool:
    """Whether the whole ladder would send other pictures than those of the accepted answer."""
    planned = accepted.planned
    if accepted.origin is not None or planned.rungs < 2:
        return False
    answered = next(
        (each.request.steps for each in reversed(accepted.attempts) if _answers(each.request.steps, accepted)), None
    )
    top = planned.steps(planned.rungs - 1)
    if answered is None:  # its reply was paid for by an earlier run: the first page has to do
        return accepted.step.size != top[0].size
    return [each.size for each in answered] != [each.size for each in top]


def judge_audit(session: RunSession, result: AuditResult) -> list[str]:
    """The warnings of an audit; ends the stored certificate where they say so. Blocks: call it in a thread."""
    ended = _end_certificate(session, result.counts)
    return [*result.warnings, *([ended] if ended else [])]


def _end_certificate(session: RunSession, counts: AuditCounts) -> str | None:
    """A warning where significantly more documents differ than when the stored tuning was measured; its certificate ends.

    So does its threshold of review, which was chosen by the same errors.
    """
    tuning = session.config.tuning.tuning
    if tuning is None or tuning.agreement is None or not counts.differs_more_than(AuditCounts(*tuning.agreement)):
        return None
    measured = AuditCounts(*tuning.agreement)
    memory, fingerprint = session.ledger.memory, session.run_info.fingerprint
    stored = memory.tuning(fingerprint)
    ended = ""
    if stored is not None and (now := parse_tuning(stored)).run == tuning.run and now.is_certified:
        memory.keep_tuning(fingerprint, now.run, now.without_certificates().model_dump_json())
        ended = ", and its certificate has ended"
    return (
        f"audit: {counts.words}; when the stored tuning of {tuning.measured_at:%Y-%m-%d} was measured,"
        f" {measured.disagreed:,} of {measured.audited:,} did{ended}: label documents and run `tilewise tune --apply` again"
    )


def _answers(steps: Sequence[LadderStep], accepted: Accepted) -> bool:
    return bool(steps) and steps[0] == accepted.step


async def _read(document: AuditDocument, context: RunContext) -> AuditResult:
    planned = _place_at_top(document.planned, context.tariff)
    result = await run_document(planned, context, document.attempts)
    usage = usage_of(result.attempts)
    paid = [each.cost_usd for each in result.attempts if each.billed == "yes"]
    totals = replace(usage, wasted_usd=sum_known(paid), estimated=planned.costs if result.attempts else Costs())
    if not isinstance(result, Accepted):
        return AuditResult(totals=totals, sample=1, failed=int(isinstance(result, Failed)))
    row, fields = context.services.tables.build_row(result), context.schema.model.model_fields
    return AuditResult(AuditCounts(1, int(have_same_values(fields, document.row, row))), totals, sample=1)


def _place_at_top(planned: Planned, tariff: Tariff) -> Planned:
    """The document with the top of its ladder alone, and the estimate of that."""
    steps = planned.steps(planned.rungs - 1)
    pages = zip(planned.pages, steps, strict=True)
    return replace(planned, pages=tuple(_place_page(*page, tariff, number) for number, page in enumerate(pages)))


def _place_page(page: PlannedPage, step: LadderStep, tariff: Tariff, number: int) -> PlannedPage:
    costs = estimate_costs(tariff, step, first=not number)
    return replace(page, ladder=(replace(step, rung=AUDIT_RUNG),), costs=costs, rescue=False)


def _build_context(context: RunContext) -> RunContext:
    """The context of an audit: its documents are counted, monitored and looked at by nothing, and copied from no row."""
    tables = context.services.tables
    return replace(
        context,
        answers=replace(context.answers, cascade=context.answers.cascade.without_thresholds(), auditor=None),
        services=replace(context.services, witness=None),
        reuse=Reuse(
            Deduplicator(tables, RowIndex(tables, earlier=False, offline=False)), context.reuse.orphaned_replies
        ),
        monitors=(),
        hooks=replace(context.hooks, on_document=lambda _: None),
    )
