"""One chunk of documents: prepare, call, validate, record for each, many at a time.

A document that cannot be done is a value here; what stops the whole run is an exception, and the brake keeps further
documents from being begun.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from extractors.call.request import Feedback
from extractors.core import Accepted, CallRequest, Copied, Failed, Planned, Prepared, Problem, Step, Unfinished, Verdict
from extractors.core.errors import DocumentError, RunError
from extractors.core.totals import RunTotals, totals_of
from extractors.prepare import prepare, prepare_link
from extractors.run.journal import DocumentJournal
from extractors.validate import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from extractors.bill import Tariff
    from extractors.call.client import ChatClient
    from extractors.call.request import RequestTemplate
    from extractors.core import Found, PlannedPage, Reply, RunInfo, Store
    from extractors.core.schema import Schema
    from extractors.record.ledger.writer import LedgerWriter
    from extractors.record.tables.writer import Tables
    from extractors.run.bequests import OrphanedReplies
    from extractors.run.copies import Deduplicator
    from extractors.run.pilot import FailureGuard
    from extractors.run.returned import ModelGuard
    from extractors.run.sentinel import BillingMonitor
    from extractors.run.shutdown import Shutdown

DocumentResult = Accepted | Copied | Failed | Unfinished
TRANSIENT = frozenset({"server_error", "capacity", "timeout", "connection"})  # what uses up a document's attempts
MOST_ANSWERS = 8  # to one document, whatever is wrong with them
MOST_TOKENS_TIMES = 4  # how far `max_tokens` is raised, by doubling, for an answer that was cut off


@dataclass(slots=True)
class RunContext:
    """What every document of a run is worked on with."""

    run_info: RunInfo
    schema: Schema
    tariff: Tariff
    store: Store
    template: RequestTemplate
    client: ChatClient
    writer: LedgerWriter
    tables: Tables
    threads: Executor
    admitted: asyncio.Semaphore
    reasks: int
    tell: Callable[[RunTotals], None]
    shutdown: Shutdown
    failure_guard: FailureGuard
    billing_monitor: BillingMonitor
    model_guard: ModelGuard
    orphaned_replies: OrphanedReplies
    deduplicator: Deduplicator
    left: list[Planned] = field(default_factory=list)
    reparse: Callable[[Sequence[Planned], RunContext], Awaitable[list[DocumentResult]]] | None = (
        None  # instead of calling
    )
    readers: Executor | None = None  # where a read is a wait, so that no core stands idle for it


@dataclass(frozen=True, slots=True)
class Fetched:
    """A Store of one image whose bytes are here already."""

    data: bytes = field(repr=False)
    readers: int = 1

    def look(self, found: Found) -> Found:
        """As it is."""
        return found

    def link(self, found: Found) -> str:
        """Raises DocumentError: bytes are nowhere that a server could fetch them."""
        raise DocumentError(f"{found.uri} is fetched already", kind="unreadable", stage="prepare")

    def open(self, found: Found) -> BinaryIO:
        """The bytes as a stream."""
        del found
        return BytesIO(self.data)

    def read(self, found: Found) -> bytes:
        """The bytes."""
        del found
        return self.data


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some documents of a run, and the bench to work on them: an opaque value to whoever schedules it."""

    number: int
    documents: Sequence[Planned]
    context: RunContext = field(repr=False)

    async def run(self) -> RunTotals:
        """Works on all documents, stages their rows, and returns what became of them."""
        ends = await (self.context.reparse or _called)(self.documents, self.context)
        await asyncio.to_thread(self.context.tables.stage, self.number, ends)
        self.context.deduplicator.staged(self.number, ends)
        self.context.left += [end.planned for end in ends if isinstance(end, Unfinished)]
        return sum((totals_of(end) for end in ends), RunTotals())


async def _called(documents: Sequence[Planned], context: RunContext) -> list[DocumentResult]:
    """What becomes of the documents when they are sent."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_document(planned, context)) for planned in documents]
        for task in tasks:
            context.shutdown.track(task)
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True)
class RetryState:
    """Where a document stands between two calls: its rung, the limit of its answer, and what was wrong with the last."""

    rung: int
    max_tokens: int
    reasks: int
    most_tokens: int
    descended: bool = False
    answers: int = 0
    feedback: Feedback | None = None

    def after(self, verdict: Verdict, reply: Reply, rungs: int) -> RetryState:
        """The next turn after an answer that was not accepted. Raises DocumentError when there is none.

        A cut answer gets more tokens, a malformed one is asked for again with the errors in words, a value that a
        validator refused is looked at again on the next rung.
        """
        turn = replace(self, answers=self.answers + 1)
        if turn.answers < MOST_ANSWERS:
            if verdict.outcome == "truncated" and self.max_tokens < self.most_tokens:
                return replace(turn, max_tokens=min(2 * self.max_tokens, self.most_tokens))
            if verdict.outcome in {"off_schema", "not_json", "empty"} and self.reasks:
                feedback = Feedback(reply.content, verdict.errors) if reply.content else None
                return replace(turn, reasks=self.reasks - 1, feedback=feedback)
            if verdict.outcome == "refused" and self.rung + 1 < rungs:
                return replace(turn, rung=self.rung + 1, feedback=None)
        final = verdict.outcome == "refused"
        raise DocumentError(verdict.errors, kind=verdict.outcome, stage="validate", final=final)

    def down(self, error: DocumentError) -> RetryState:
        """The turn after a request that was too long: one rung down, once. Raises `error` when that is not to be had."""
        if error.kind != "context_exceeded" or self.descended or self.rung == 0:
            raise error
        return replace(self, rung=self.rung - 1, descended=True, feedback=None)


async def _document(planned: Planned, context: RunContext) -> DocumentResult:
    """One document from plan to end, in its turn."""
    journal = DocumentJournal(context.writer)
    try:
        async with context.admitted:
            end = await _end(planned, journal, context)
    except asyncio.CancelledError:
        if not context.shutdown.cutting:
            raise
        end = _left(planned, journal)
    told = totals_of(end)
    context.tell(told)
    context.billing_monitor.observe(end.attempts)
    for stops in (context.failure_guard.observe(told), context.model_guard.observe(end.attempts)):
        if stops:
            context.shutdown.stop(stops)
    return end


async def _end(planned: Planned, journal: DocumentJournal, context: RunContext) -> DocumentResult:
    if context.shutdown.error is not None:
        return _left(planned, journal)
    if planned.problem is not None:
        return _failed(planned, journal, planned.problem)
    return await _tried(planned, journal, context, partial(_read, planned, journal, context))


async def _tried(
    planned: Planned, journal: DocumentJournal, context: RunContext, work: Callable[[], Awaitable[DocumentResult]]
) -> DocumentResult:
    """The end that this work comes to; what it raises is an end too."""
    try:
        return await work()
    except DocumentError as error:
        problem = Problem(error.kind, error.stage, error.message, error.final)  # type: ignore[arg-type]  # a closed list
        return _failed(planned, journal, problem)
    except RunError as error:
        context.shutdown.stop(error)
        return _left(planned, journal)


async def _read(planned: Planned, journal: DocumentJournal, context: RunContext) -> DocumentResult:
    """A copy where the same content was answered about before, else an answer. Raises DocumentError or RunError."""
    prepared = await _prepared(planned, 0, context)
    answered = partial(_answered, planned, prepared, journal, context)
    if not all(page.sha256 for page in prepared):  # passed on: nobody here knows its bytes
        return await answered()
    key = _key(planned, prepared, context.run_info)
    return await context.deduplicator.run_once(planned, key, partial(_tried, planned, journal, context, answered))


def _failed(planned: Planned, journal: DocumentJournal, problem: Problem) -> Failed:
    return Failed(planned, tuple(journal.attempts), _key_of(journal), datetime.now(UTC), problem)


def _left(planned: Planned, journal: DocumentJournal) -> Unfinished:
    return Unfinished(planned, tuple(journal.attempts), _key_of(journal), datetime.now(UTC))


async def _answered(
    planned: Planned, prepared: tuple[Prepared, ...], journal: DocumentJournal, context: RunContext
) -> Accepted:
    """Calls, and prepares anew, until an answer is accepted. Raises DocumentError or RunError when none can be."""
    most = context.tariff.max_tokens
    turn = RetryState(rung=0, max_tokens=most, reasks=context.reasks, most_tokens=most * MOST_TOKENS_TIMES)
    judge = partial(judged, context)
    while True:
        body = context.template.body([page.block for page in prepared], turn.max_tokens, turn.feedback)
        order = _order(planned, prepared, turn, len(body), context)
        try:
            spent = sum(attempt.outcome in TRANSIENT for attempt in journal.attempts)
            paid = await context.orphaned_replies.reply(order.request)
            if paid is not None:
                reply, verdict = paid, judge(paid)
            else:
                reply, verdict = await context.client.call(order, body, journal, judge, spent)
        except DocumentError as error:
            following = turn.down(error)
        else:
            if verdict.document is not None:
                done = (planned, tuple(journal.attempts), order.key, datetime.now(UTC))
                return Accepted(*done, verdict.document, reply, order.steps[0], prepared[0].encoded, prepared[0].sha256)
            following = turn.after(verdict, reply, planned.rungs)
        if following.rung != turn.rung:
            prepared = await _prepared(planned, following.rung, context)
        turn = following


def judged(context: RunContext, reply: Reply) -> Verdict:
    """The verdict on a reply; a document that no column can hold is refused like one that a validator refuses."""
    verdict = validate(reply, context.schema.model)
    refusal = context.tables.refusal(verdict.document) if verdict.document is not None else None
    return Verdict("refused", errors=refusal) if refusal else verdict


async def _prepared(planned: Planned, rung: int, context: RunContext) -> tuple[Prepared, ...]:
    """The pages' image blocks at this rung, made in threads."""
    stores = await _stores(planned.pages, context)
    pages = zip(planned.pages, planned.steps(rung), strict=True)
    return tuple(await asyncio.gather(*(_page(page, step, stores, context) for page, step in pages)))


async def prepared_page(page: PlannedPage, step: Step, context: RunContext) -> Prepared:
    """One page's image block, made in a thread. Raises DocumentError."""
    return await _page(page, step, await _stores([page], context), context)


async def _stores(pages: Sequence[PlannedPage], context: RunContext) -> dict[str, Store]:
    """Where each file of these pages is read: where a read is a wait each is fetched once, however many its pages."""
    files = {page.billed.found.uri: page.billed.found for page in pages if page.action != "url"}
    if context.readers is None:
        return dict.fromkeys(files, context.store)
    loop = asyncio.get_running_loop()
    reads = (loop.run_in_executor(context.readers, context.store.read, found) for found in files.values())
    return dict(zip(files, map(Fetched, await asyncio.gather(*reads)), strict=True))


async def _page(page: PlannedPage, step: Step, stores: Mapping[str, Store], context: RunContext) -> Prepared:
    loop, found = asyncio.get_running_loop(), page.billed.found
    if page.action == "url":
        return prepare_link(page, await loop.run_in_executor(context.threads, context.store.link, found))
    try:
        return await loop.run_in_executor(context.threads, prepare, stores[found.uri], page, step)
    except DocumentError as error:
        if len(stores) > 1 or found.page is not None:
            error.message = found.blamed(error.message)
        raise


def _order(
    planned: Planned, prepared: tuple[Prepared, ...], turn: RetryState, size: int, context: RunContext
) -> CallRequest:
    steps, tariff = planned.steps(turn.rung), context.tariff
    more = turn.feedback.bytes if turn.feedback else 0
    key = _key(planned, prepared, context.run_info)
    return CallRequest(
        document=planned.document,
        key=key,
        request=_request(key, steps, turn),
        payload_bytes=size,
        steps=steps,
        text_tokens=tariff.expect_text_tokens(more),
        worst_prompt_tokens=_worst(steps, tariff, more),
        output_tokens=tariff.output_tokens,
        max_tokens=turn.max_tokens,
        sha256=prepared[0].sha256,
        encoded=prepared[0].encoded,
        links=tuple(page.link for page in prepared if page.link),
    )


def _worst(steps: tuple[Step, ...], tariff: Tariff, more: int) -> int | None:
    if not all(tariff.can_bill(step) for step in steps):
        return None
    return sum(tariff.high_tokens(step) for step in steps) + tariff.limit_text_tokens(more)


def _key(planned: Planned, prepared: tuple[Prepared, ...], run_info: RunInfo) -> str:
    """Names what is paid for by its content: the original bytes of all pages, schema, instructions, sampling, model.

    What was passed on has no bytes here: its name and version stand for them.
    """
    found = [page.billed.found for page in planned.pages]
    pages = [_content(page.sha256, each) for page, each in zip(prepared, found, strict=True)]
    parts = [*pages, run_info.schema, run_info.schema_hash, run_info.prompt_hash, run_info.model]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _content(sha256: str, found: Found) -> str:
    if not sha256:
        return f"{found.name} {found.version}"
    return sha256 if found.page is None else f"{sha256}#page={found.page}"


def _request(key: str, steps: tuple[Step, ...], turn: RetryState) -> str:
    """Names one request by all that its answer depends on: an answer to it need not be paid for twice."""
    sizes = " ".join(f"{step.size.width}x{step.size.height}" for step in steps)
    words = turn.feedback.text + turn.feedback.answer if turn.feedback else ""
    return hashlib.sha256("\0".join((key, sizes, str(turn.max_tokens), words)).encode()).hexdigest()[:32]


def _key_of(journal: DocumentJournal) -> str | None:
    return journal.attempts[-1].request.key if journal.attempts else None
