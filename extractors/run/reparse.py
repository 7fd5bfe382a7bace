"""reparse: stored answers, read again under today's schema: what a run does instead of calling, under `--redo reparse`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractors.call.response import parse_stored
from extractors.core import Accepted, AnswerOrigin, Failed, Problem, Step, Unfinished
from extractors.core.errors import DocumentError
from extractors.core.totals import totals_of
from extractors.run.chunk import judged, prepared_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core import Name, Planned, PlannedPage, Reply, Verdict
    from extractors.record.tables.replies import Answer, StoredReplies
    from extractors.run.chunk import DocumentResult, RunContext


@dataclass(frozen=True, slots=True)
class _Read:
    """An answer, read again."""

    answer: Answer
    reply: Reply
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Reparse:
    """Gives documents their ends from what is stored."""

    stored_replies: StoredReplies

    async def ends(self, documents: Sequence[Planned], context: RunContext) -> list[DocumentResult]:
        """What becomes of these documents: the latest answer that validates today is theirs, else they have failed."""
        read = await asyncio.to_thread(self._read, documents, context)
        ends: list[DocumentResult] = [await _end(planned, read.get(planned.name), context) for planned in documents]
        for end in ends:
            context.tell(totals_of(end))
        return ends

    def _read(self, documents: Sequence[Planned], context: RunContext) -> dict[Name, _Read]:
        """The answer that counts of each; where none validates, the latest."""
        wanted = {planned.name for planned in documents}
        read: dict[Name, _Read] = {}
        for answer in self.stored_replies.answers(wanted):
            if answer.name in wanted:
                reply = parse_stored(answer.body)
                found = _Read(answer, reply, judged(context, reply))
                if found.verdict.document is not None:
                    read[answer.name] = found
                    wanted.discard(answer.name)
                read.setdefault(answer.name, found)
        return read


async def _end(planned: Planned, read: _Read | None, context: RunContext) -> DocumentResult:
    now = datetime.now(UTC)
    if read is None or context.shutdown.error is not None:
        return Unfinished(planned, (), None, now)
    answer, verdict = read.answer, read.verdict
    asked = AnswerOrigin(answer.model, answer.prompt_hash, answer.action)
    done = (planned, (), answer.key, now)
    if verdict.document is None:
        return Failed(*done, Problem(verdict.outcome, "validate", verdict.errors, final=False), asked=asked)
    step, encoded, sha256 = Step(answer.rung, answer.sent, 0), answer.encoded, answer.sha256
    if sha256 is None or encoded is None:  # it had failed: no row says what was sent of it
        try:
            prepared = await prepared_page(planned.first, step, context)
        except DocumentError as error:
            problem = Problem(error.kind, "prepare", error.message, final=False)
            return Failed(*done, problem, asked=asked)
        encoded, sha256 = prepared.encoded, prepared.sha256
        asked = AnswerOrigin(answer.model, answer.prompt_hash, _action(planned.first, step))
    return Accepted(*done, verdict.document, read.reply, step, encoded, sha256, asked=asked)


def _action(page: PlannedPage, step: Step) -> str:
    """What was done to a picture that was sent in this size."""
    if page.action == "url":
        return "url"
    if page.billed.header is not None and step.size == page.billed.header.size:
        return "send"
    return "shrink" if page.ladder and step.size == page.ladder[-1].size else "resize"
