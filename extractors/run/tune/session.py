"""A tuning run: labelled images are read at every rung and published as calls, never as results; then they are compared.

It is a run of its own (flow `tune`): it asks before it spends, can be stopped and killed, and pays for no reading twice.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from extractors.bill import estimate_costs
from extractors.config.run_config import PriorStats
from extractors.core import Accepted, Failed
from extractors.core.document_totals import usage_of
from extractors.core.errors import ConfigurationError, RunError
from extractors.core.money import FREE, Costs, dollars
from extractors.plan.feed import Feed
from extractors.record.output import open_output
from extractors.record.tables.rows import failure_row, image_rows
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables
from extractors.run.approval import require_approval
from extractors.run.result import RunCounts, RunRecord
from extractors.run.scheduler import ChunkScheduler
from extractors.run.trial import open_trial
from extractors.run.tune.blank_control import ControlResult, build_controls, run_controls
from extractors.run.tune.field_comparers import build_comparers, compare_document
from extractors.run.tune.labels import read_labels
from extractors.run.tune.late_truth import JoinedLabels, join_labels
from extractors.run.tune.paid_replies import FLOW, load_paid_replies
from extractors.run.tune.readings import DocumentReader, LabelledDocument, name_content, plan_rungs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.config.run_config import RunConfig
    from extractors.core import Reply
    from extractors.report.tuning.join import JoinView
    from extractors.run.context import RunContext
    from extractors.run.hooks import RunHooks
    from extractors.run.session import RunSession
    from extractors.run.tune.blank_control import ControlRequest
    from extractors.run.tune.labels import Labels
    from extractors.run.tune.readings import DocumentReadings
    from extractors.run.tune.request import TruthFile

PART = PartId(0)


@dataclass(frozen=True, slots=True)
class ReadingsResult:
    """The readings of all labelled documents, and the row of their run."""

    session: RunSession
    labels: Labels
    readings: tuple[DocumentReadings, ...]
    control: ControlResult
    record: RunRecord
    row: dict[str, object]
    join: JoinView | None = None

    @property
    def error(self) -> RunError | None:
        """What stopped the run before it had read everything."""
        return self.record.error


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be read: documents with their keys, paid replies by request, and the readings that need a call."""

    documents: tuple[LabelledDocument, ...]
    controls: tuple[ControlRequest, ...]
    paid: Mapping[str, Reply]
    costs: Costs
    readings: int
    calls: int


async def read_labelled(
    config: RunConfig, truth: TruthFile, hooks: RunHooks, *, priced: bool = False
) -> ReadingsResult:
    """Reads the labelled images of the job's source at every rung. `priced`: the price of tokens has to be known.

    Raises ConfigurationError before anything is sent: for a file of truth that does not fit the source or the schema, and
    where the cost is not approved. What stops it later is the `error` of the result, and what was read is kept.
    """
    joined = await asyncio.to_thread(read_source_labels, config, truth, hooks)
    async with AsyncExitStack() as stack:
        session = await open_trial(config, hooks, stack, FLOW)
        if priced and session.run_info.price is None:
            raise ConfigurationError(
                f"the price of {session.run_info.model} is unknown, so dollars cannot be compared: add it to TILEWISE_PRICES,"
                " or leave out --review-cost and --error-cost"
            )
        tables = Tables(session.output, session.run_info, config.schema.model, config.settings.keep_replies)
        feed = Feed(session.config, session.estimate_inputs.tariff)
        stack.callback(feed.close)
        work = await asyncio.to_thread(_plan_work, session, feed, joined.labels)
        await _approve(session, work, hooks)
        stack.enter_context(tables)
        result = await _Tuning(ChunkScheduler(session, feed, tables, hooks), joined.labels, work).run()
        return replace(result, join=joined.view)


def read_source_labels(config: RunConfig, truth: TruthFile, hooks: RunHooks) -> JoinedLabels:
    """The labels of the source's documents. Raises ConfigurationError as `label_documents` and `join_labels`. Blocks."""
    with closing(Feed(config, config.tariff(None, PriorStats()))) as feed:
        documents, schema = list(feed.iter_pending(looks=False)), config.schema
    if truth.on:
        joined = join_labels(truth, schema, open_output(config.output), documents)
    else:
        joined = JoinedLabels(read_labels(truth.path, schema.model, documents))
    if joined.view:
        hooks.notify(joined.view.words)
    comparers = build_comparers(schema.model, joined.labels.fields)
    for label in joined.labels.labelled:  # values that cannot be compared are found before anything is paid for
        compare_document(comparers, label.cells, label.cells, label.document.document, 0)
    return joined


def _plan_work(session: RunSession, feed: Feed, labels: Labels) -> _Work:
    """Plans every rung of the labelled documents, and looks up what is paid for. Reads their bytes: call it in a thread."""
    config, run_info = session.config, session.run_info
    by_name = {label.document.document: label for label in labels.labelled}
    listed = [document for document in feed.iter_pending(looks=False) if document.document in by_name]
    price = partial(estimate_costs, feed.tariff)
    documents = [
        LabelledDocument(by_name[planned.document], plan_rungs(planned, config.rule, price))
        for planned in feed.plan(listed)
    ]
    if all(document.planned.problem for document in documents):
        problem = documents[0].planned.problem if documents else None
        raise ConfigurationError(
            f"no labelled image can be read: {problem.message if problem else 'the source has none'}"
        )
    documents = [name_content(document, feed.store, run_info) for document in documents]
    controls = build_controls(feed.tariff, run_info)
    keys = {document.key for document in documents if document.key} | {control.call.key for control in controls}
    paid = load_paid_replies(session.ledger, session.output, run_info, keys)
    requests = [
        (document.request(rung, feed.tariff.max_tokens), document.planned.steps(rung))
        for document in documents
        for rung in document.rungs()
    ]
    requests += [(control.call.request, control.call.steps) for control in controls]
    unpaid = [enumerate(steps) for request, steps in requests if request not in paid]
    costs = sum((price(step, first=not number) for steps in unpaid for number, step in steps), Costs())
    return _Work(tuple(documents), tuple(controls), paid, costs, len(requests), len(unpaid))


async def _approve(session: RunSession, work: _Work, hooks: RunHooks) -> None:
    """Says what is read and what it may cost, and has that approved. Raises as `require_approval`."""
    number, stored = len(work.documents), work.readings - work.calls
    cost = f"expected {dollars(work.costs.expected)}, at most {dollars(work.costs.high)}" if work.calls else "no cost"
    hooks.notify(
        f"{number:,} labelled documents, each at every rung: {work.readings:,} readings, {stored:,} of them stored,"
        f" {work.calls:,} calls, {cost}"
    )
    if work.calls and session.run_info.price != FREE:
        await require_approval(session.config, work.costs, hooks.confirm, documents=number)
    hooks.on_total(work.readings)


@dataclass(slots=True)
class _Tuning:
    """A tuning run that may call."""

    scheduler: ChunkScheduler
    labels: Labels
    work: _Work

    async def run(self) -> ReadingsResult:
        """Reads all documents, and publishes what happened."""
        session = self.scheduler.session
        async with AsyncExitStack() as stack:
            context = await self.scheduler.build_context(stack)
            if context.services.witness is not None:
                context.services.witness.kept = {}  # a page is read once for all rungs
            readings = await DocumentReader(context, self.work.paid).read_all(self.work.documents)
            control = await self._control(context)
            error, warnings = context.shutdown.error, self.scheduler.warnings(context)
        record = RunRecord(session.run_info, error=error, warnings=warnings)
        totals = sum((each.totals for each in readings), usage_of(control.attempts))
        row = record.row(RunCounts(0, totals), 1)
        await session.lease.renew()
        await asyncio.to_thread(self._publish, readings, row)
        return ReadingsResult(session, self.labels, tuple(readings), control, record, row)

    async def _control(self, context: RunContext) -> ControlResult:
        """Sends the control pictures, unless the run was stopped."""
        if context.shutdown.error is not None:
            return ControlResult()
        sending = asyncio.ensure_future(run_controls(self.work.controls, self.work.paid, context))
        context.shutdown.track(sending)
        try:
            return await sending
        except RunError as error:
            context.shutdown.stop(error)
        except asyncio.CancelledError:
            if not context.shutdown.cancelling:
                raise
        return ControlResult()

    def _publish(self, readings: Sequence[DocumentReadings], row: dict[str, object]) -> None:
        """Publishes calls, images, failures that count as no try, and the row of `runs`."""
        session, tables = self.scheduler.session, self.scheduler.tables
        run_info, ledger, volume = session.run_info, session.ledger, tables.volume
        ends = [each.end for each in readings]
        images = [row for end in ends if isinstance(end, Accepted | Failed) for row in image_rows(end, run_info)]
        failed = [failure_row(end, run_info) for end in ends if isinstance(end, Failed)]
        volume.stage("images", PART, images)
        volume.stage("failures", PART, [row | {"final": False, "tries": 0} for row in failed])
        volume.stage_calls(ledger.calls.iter_unpublished(run_info.run), session.config.settings.keep_replies)
        with ledger.output_leases.hold(str(session.output)):
            tables.publish(row)
        ledger.runs.mark_volume_published(run_info.run, 1, ())
        ledger.runs.finish(run_info.run)


def without_policy(config: RunConfig) -> RunConfig:
    """The configuration that plans a source's whole images: a tuning reads every rung under any policy."""
    return replace(config, job=config.job.model_copy(update={"policy": "faithful"}))
