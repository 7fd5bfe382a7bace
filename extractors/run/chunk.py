"""One chunk of documents: prepare, call, validate and record each, many at a time.

A document that fails is a value here. An error that stops the whole run is passed to the shutdown, which keeps further
documents from starting.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from extractors.core import Accepted, CallRequest, Failed, LadderStep, Prepared, Problem, Unfinished, Verdict
from extractors.core.document_totals import totals_of
from extractors.core.errors import DocumentError, RunError
from extractors.core.totals import RunTotals, sum_totals
from extractors.prepare import prepare, prepare_link
from extractors.run.cascade import choose_surest, compare_answers
from extractors.run.journal import DocumentJournal
from extractors.run.keys import content_key, request_key
from extractors.run.retry import MAX_TOKENS_FACTOR, TRANSIENT, RetryState
from extractors.scan.stores import FetchedStore
from extractors.validate import validate
from extractors.validate.alignment import align

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from extractors.bill import Tariff
    from extractors.call.request import RequestBody
    from extractors.core import DocumentResult, Planned, PlannedPage, Reply, Store
    from extractors.record.tables.volume import PartId
    from extractors.run.context import RunContext


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some documents of a run and their context: an opaque value for the orchestrator that schedules it."""

    part: PartId
    documents: Sequence[Planned]
    context: RunContext = field(repr=False)

    async def run(self) -> RunTotals:
        """Processes all documents, stages their rows, and returns their totals."""
        context = self.context
        if context.reuse.reparse is not None:
            results = await context.reuse.reparse.run(self.documents, context)
            results = await asyncio.gather(*map(context.examine, results))
        else:
            results = await _run_documents(self.documents, context)
        return await self.record(context.services.refusals.withhold(results))

    async def record(self, results: Sequence[DocumentResult]) -> RunTotals:
        """Stages the rows of these results, and returns their totals."""
        context = self.context
        await asyncio.to_thread(context.services.tables.stage, self.part, results)
        context.reuse.deduplicator.note_staged(self.part, results)
        context.unfinished.extend(result.planned for result in results if isinstance(result, Unfinished))
        return sum_totals([totals_of(result) for result in results])


async def _run_documents(documents: Sequence[Planned], context: RunContext) -> list[DocumentResult]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_document(planned, context)) for planned in documents]
        for task in tasks:
            context.shutdown.track(task)
    return [task.result() for task in tasks]


async def run_document(planned: Planned, context: RunContext, earlier: int = 0) -> DocumentResult:
    """Waits for admission, processes one document, and reports its result; its attempts count after `earlier` ones."""
    journal = DocumentJournal(context.services.writer, earlier, on_calls=context.hooks.on_calls)
    try:
        async with context.services.admission:
            result = await _process(planned, journal, context)
    except asyncio.CancelledError:
        if not context.shutdown.cancelling:
            raise
        result = _build_unfinished(planned, journal)
    _report(result, context)
    return await context.examine(result)


def _report(result: DocumentResult, context: RunContext) -> None:
    """Reports a result to the caller and to the monitors, any of which may stop the run."""
    totals = totals_of(result)
    context.hooks.on_document(totals)
    if context.answers.auditor is not None:
        context.answers.auditor.observe(result)
    for monitor in context.monitors:
        if error := monitor.observe(totals, result.attempts):
            context.shutdown.stop(error)


async def _process(planned: Planned, journal: DocumentJournal, context: RunContext) -> DocumentResult:
    if context.shutdown.error is not None:
        return _build_unfinished(planned, journal)
    if planned.problem is not None:
        return _build_failure(planned, journal, planned.problem)
    return await _catch(planned, journal, context, partial(_answer_once, planned, journal, context))


async def _catch(
    planned: Planned, journal: DocumentJournal, context: RunContext, work: Callable[[], Awaitable[DocumentResult]]
) -> DocumentResult:
    """Awaits the work, and turns a document error into a failure and a run error into a stop."""
    try:
        return await work()
    except DocumentError as error:
        return _fail(error, planned, journal, context)
    except RunError as error:
        context.shutdown.stop(error)
        return _build_unfinished(planned, journal)


def _fail(error: DocumentError, planned: Planned, journal: DocumentJournal, context: RunContext) -> Failed:
    """The failure for this error. A refusal before the first answer is not final, and may stop the run."""
    refusals = context.services.refusals
    final = error.final and (error.refusal is None or refusals.answered)
    if error.refusal is not None and (stop := refusals.count(planned.document, error.refusal, error.public)):
        context.shutdown.stop(stop)
    problem = Problem(error.kind, error.stage, error.message, final)  # type: ignore[arg-type]  # a closed list
    return replace(_build_failure(planned, journal, problem), refusal=error.refusal)


async def _answer_once(planned: Planned, journal: DocumentJournal, context: RunContext) -> DocumentResult:
    """Copies the result of the same content if there is one, else calls. Raises DocumentError or RunError."""
    prepared = await _prepare_pages(planned, 0, journal, context)
    answer = partial(_ask_until_sure, planned, prepared, journal, context)
    if not all(page.sha256 for page in prepared):  # sent as a URL: its bytes are not known here
        return await answer()
    key = content_key(planned, [page.sha256 for page in prepared], context.run_info)
    answer_or_failure = partial(_catch, planned, journal, context, answer)
    return await context.reuse.deduplicator.run_once(planned, key, answer_or_failure)


def _build_failure(planned: Planned, journal: DocumentJournal, problem: Problem) -> Failed:
    ended_at, attempts = datetime.now(UTC), tuple(journal.attempts)
    return Failed(planned, attempts, _last_key(journal), ended_at, problem, qualities=journal.qualities)


def _build_unfinished(planned: Planned, journal: DocumentJournal) -> Unfinished:
    return Unfinished(planned, tuple(journal.attempts))


async def _ask_until_sure(
    planned: Planned, prepared: tuple[Prepared, ...], journal: DocumentJournal, context: RunContext
) -> Accepted:
    """Calls, with other pixels or words each time, until an answer is accepted and sure enough.

    Raises DocumentError or RunError where there is no accepted answer; else the surest accepted one is returned.
    """
    max_tokens = context.tariff.max_tokens
    state = RetryState(0, max_tokens, context.answers.reasks, token_ceiling=max_tokens * MAX_TOKENS_FACTOR)
    prepared_rung = 0
    while True:
        try:
            if state.rung != prepared_rung:
                prepared, prepared_rung = await _prepare_pages(planned, state.rung, journal, context), state.rung
            following = await _ask_in_state(state, planned, prepared, journal, context)
        except (DocumentError, RunError, asyncio.CancelledError) as error:
            following = _keep_accepted(error, state, context)
        if isinstance(following, Accepted):
            if len(following.attempts) == len(journal.attempts):  # the last answer, just now
                return following
            return replace(following, attempts=tuple(journal.attempts), ended_at=datetime.now(UTC))
        state = following


async def _ask_in_state(
    state: RetryState,
    planned: Planned,
    prepared: tuple[Prepared, ...],
    journal: DocumentJournal,
    context: RunContext,
) -> Accepted | RetryState:
    """Calls once; returns the answer to publish, or the state of the next call. Raises DocumentError or RunError."""
    body = _build_body(prepared, state, context)
    request = _build_request(planned, prepared, state, body.size, context)
    try:
        reply, verdict = await _ask(request, body, journal, context)
    except DocumentError as error:
        return state.step_down(error)
    if verdict.document is None:
        return state.after_answer(verdict, reply, planned.rungs)
    cascade = context.answers.cascade
    agreed = compare_answers(state.accepted[-1].value, verdict.document) if state.accepted else None
    answer = Accepted(
        planned=planned,
        attempts=tuple(journal.attempts),
        key=request.key,
        ended_at=datetime.now(UTC),
        value=verdict.document,
        reply=reply,
        step=request.steps[0],
        encoded=prepared[0].encoded,
        sha256=prepared[0].sha256,
        evidence=cascade.weigh(align(reply, context.schema.model, verdict.candidate), agreed, journal.qualities),
        qualities=journal.qualities,
        agreed=agreed,
        cells=verdict.cells,
    )
    if cascade.is_sure(answer, state.accepted):
        return answer
    return state.climb(answer, planned.doubt_rungs) or choose_surest((*state.accepted, answer))


def _keep_accepted(
    error: DocumentError | RunError | asyncio.CancelledError, state: RetryState, context: RunContext
) -> Accepted:
    """Returns the surest accepted answer of the lower rungs, which is paid for; raises the error where there is none.

    A run error stops the run all the same.
    """
    if not state.accepted or (isinstance(error, asyncio.CancelledError) and not context.shutdown.cancelling):
        raise error
    if isinstance(error, RunError):
        context.shutdown.stop(error)
    return choose_surest(state.accepted)


def _build_body(prepared: tuple[Prepared, ...], state: RetryState, context: RunContext) -> RequestBody:
    services, blocks = context.services, [page.block for page in prepared]
    logprobs = services.client.logprobs.asks
    return services.template.body(blocks, state.max_tokens, state.feedback, logprobs=logprobs)


async def _ask(
    request: CallRequest, body: RequestBody, journal: DocumentJournal, context: RunContext
) -> tuple[Reply, Verdict]:
    """Takes a reply that an earlier run paid for, else calls. Raises DocumentError or RunError."""
    judge = partial(judge_reply, context)
    paid = await context.reuse.orphaned_replies.reply(request.request)
    if paid is not None:
        return paid, judge(paid)
    failures = sum(attempt.outcome in TRANSIENT for attempt in journal.attempts)
    async with context.services.refusals.slot():
        answer = await context.services.client.call(request, body, journal, judge, failures)
    context.services.refusals.confirm()
    return answer


def judge_reply(context: RunContext, reply: Reply) -> Verdict:
    """Validates a reply; a document that does not fit the columns is refused like one that a validator refuses."""
    schema = context.schema
    verdict = validate(reply, schema.model, schema.row_sums)
    if verdict.outcome != "accepted":
        return verdict
    try:
        cells = context.services.tables.build_cells(verdict.document)
    except ValueError as error:
        return Verdict("refused", errors=str(error))
    return Verdict("accepted", verdict.document, candidate=verdict.candidate, cells=cells)


async def _prepare_pages(
    planned: Planned, rung: int, journal: DocumentJournal, context: RunContext
) -> tuple[Prepared, ...]:
    """Makes the pages' image blocks at this rung, in threads, and notes the quality of their pictures."""
    stores = await _open_stores(planned.pages, context)
    pages = zip(planned.pages, planned.steps(rung), strict=True)
    preparing = [_prepare(page, step, stores, context) for page, step in pages]
    prepared = [await preparing[0]] if len(preparing) == 1 else await asyncio.gather(*preparing)
    journal.note_qualities(prepared)
    return tuple(prepared)


async def prepare_page(page: PlannedPage, step: LadderStep, context: RunContext) -> Prepared:
    """Makes one page's image block, in a thread. Raises DocumentError."""
    return await _prepare(page, step, await _open_stores([page], context), context)


async def _open_stores(pages: Sequence[PlannedPage], context: RunContext) -> dict[str, Store]:
    """The store of each file of these pages. Where reading waits, each file is fetched once for all its pages."""
    files = {page.billed.found.uri: page.billed.found for page in pages if page.action != "url"}
    services = context.services
    if services.readers is None:
        return dict.fromkeys(files, services.store)
    loop = asyncio.get_running_loop()
    reads = (loop.run_in_executor(services.readers, services.store.read, found) for found in files.values())
    return dict(zip(files, map(FetchedStore, await asyncio.gather(*reads)), strict=True))


async def _prepare(page: PlannedPage, step: LadderStep, stores: Mapping[str, Store], context: RunContext) -> Prepared:
    loop, found, services = asyncio.get_running_loop(), page.billed.found, context.services
    if page.action == "url":
        return prepare_link(page, await loop.run_in_executor(services.threads, services.store.link, found))
    try:
        make = partial(prepare, measure=services.client.logprobs.wanted)
        return await loop.run_in_executor(services.threads, make, stores[found.uri], page, step)
    except DocumentError as error:
        if len(stores) > 1 or found.page is not None:
            error.message = found.prefix_message(error.message)
        raise


def _build_request(
    planned: Planned, prepared: tuple[Prepared, ...], state: RetryState, size: int, context: RunContext
) -> CallRequest:
    steps, tariff = planned.steps(state.rung), context.tariff
    feedback_bytes = state.feedback.bytes if state.feedback else 0
    key = content_key(planned, [page.sha256 for page in prepared], context.run_info)
    return CallRequest(
        document=planned.document,
        key=key,
        request=request_key(key, steps, state.max_tokens, state.feedback),
        payload_bytes=size,
        steps=steps,
        text_tokens=tariff.expect_text_tokens(feedback_bytes),
        worst_prompt_tokens=_worst_prompt_tokens(steps, tariff, feedback_bytes),
        output_tokens=tariff.output_tokens,
        max_tokens=state.max_tokens,
        sha256=prepared[0].sha256,
        encoded=prepared[0].encoded,
        links=tuple(page.link for page in prepared if page.link),
    )


def _worst_prompt_tokens(steps: tuple[LadderStep, ...], tariff: Tariff, feedback_bytes: int) -> int | None:
    """The most prompt tokens that a request can be billed; None if a step's bill is unknown."""
    if not all(tariff.can_bill(step) for step in steps):
        return None
    return sum(tariff.high_tokens(step) for step in steps) + tariff.limit_text_tokens(feedback_bytes)


def _last_key(journal: DocumentJournal) -> str | None:
    return journal.attempts[-1].request.key if journal.attempts else None
