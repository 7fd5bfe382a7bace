"""Reparse: stored replies are validated again under today's schema, without a call (`--redo reparse`)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractors.call.response import parse_stored
from extractors.core import Accepted, AnswerOrigin, Failed, LadderStep, Problem, Unfinished
from extractors.core.document_totals import totals_of
from extractors.core.errors import DocumentError
from extractors.run.cascade import NO_CASCADE
from extractors.run.chunk import judge_reply, prepare_page
from extractors.validate.alignment import align

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core import DocumentResult, Evidence, Name, Planned, PlannedPage, Reply, Verdict
    from extractors.record.tables.replies import StoredAnswer, StoredReplies
    from extractors.run.cascade import Cascade
    from extractors.run.context import RunContext


@dataclass(frozen=True, slots=True)
class _Reading:
    """A stored answer with today's verdict on it."""

    answer: StoredAnswer
    reply: Reply
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Reparse:
    """Gives documents their results from stored replies."""

    stored_replies: StoredReplies

    async def run(self, documents: Sequence[Planned], context: RunContext) -> list[DocumentResult]:
        """Returns the results: the latest answer that validates today, else a failure."""
        readings = await asyncio.to_thread(self._read, documents, context)
        results: list[DocumentResult] = [
            await _result_of(planned, readings.get(planned.name), context) for planned in documents
        ]
        for result in results:
            context.hooks.on_document(totals_of(result))
        return results

    def _read(self, documents: Sequence[Planned], context: RunContext) -> dict[Name, _Reading]:
        """Finds the answer that counts for each document; where none validates, the latest."""
        wanted = {planned.name for planned in documents}
        readings: dict[Name, _Reading] = {}
        for answer in self.stored_replies.find_answers(wanted):
            if answer.name in wanted:
                reply = parse_stored(answer.body, logprobs=answer.logprobs)
                reading = _Reading(answer, reply, judge_reply(context, reply))
                if reading.verdict.document is not None:
                    readings[answer.name] = reading
                    wanted.discard(answer.name)
                readings.setdefault(answer.name, reading)
        return readings


async def _result_of(planned: Planned, reading: _Reading | None, context: RunContext) -> DocumentResult:
    if reading is None or context.shutdown.error is not None:
        return Unfinished(planned)
    answer, verdict = reading.answer, reading.verdict
    origin = AnswerOrigin(answer.model, answer.prompt_hash, answer.action)
    if verdict.document is None:
        return _build_failure(
            planned, answer, Problem(verdict.outcome, "validate", verdict.errors, final=False), origin
        )
    step, encoded, sha256 = LadderStep(answer.rung, answer.sent, 0), answer.encoded, answer.sha256
    if sha256 is None or encoded is None:  # the document had failed: no row says what was sent of it
        try:
            prepared = await prepare_page(planned.first, step, context)
        except DocumentError as error:
            return _build_failure(planned, answer, Problem(error.kind, "prepare", error.message, final=False), origin)
        encoded, sha256 = prepared.encoded, prepared.sha256
        origin = AnswerOrigin(answer.model, answer.prompt_hash, _action_of(planned.first, step))
    return Accepted(
        planned=planned,
        attempts=(),
        key=answer.key,
        ended_at=datetime.now(UTC),
        value=verdict.document,
        reply=reading.reply,
        step=step,
        encoded=encoded,
        sha256=sha256,
        origin=origin,
        evidence=_weigh(reading, context),
        cells=verdict.cells,
    )


def _weigh(reading: _Reading, context: RunContext) -> Evidence | None:
    """The evidence of a stored answer, with the confidence by the run's score."""
    evidence = align(reading.reply, context.schema.model, reading.verdict.candidate)
    return _select_cascade(reading.answer, context).weigh(evidence, qualities=[reading.answer.quality])


def _select_cascade(answer: StoredAnswer, context: RunContext) -> Cascade:
    """The run's score, for an answer to the same prompt of the same model; for others there is none."""
    current = (context.run_info.model, context.run_info.prompt_hash)
    return context.answers.cascade if (answer.model, answer.prompt_hash) == current else NO_CASCADE


def _build_failure(planned: Planned, answer: StoredAnswer, problem: Problem, origin: AnswerOrigin) -> Failed:
    return Failed(planned, (), answer.key, datetime.now(UTC), problem, origin=origin)


def _action_of(page: PlannedPage, step: LadderStep) -> str:
    """The action that sends a page in this size."""
    if page.action == "url":
        return "url"
    if page.billed.header is not None and step.size == page.billed.header.size:
        return "send"
    return "shrink" if page.ladder and step.size == page.ladder[-1].size else "resize"
