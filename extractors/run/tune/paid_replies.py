"""Replies that earlier runs of any kind paid for: a labelled image is not read again at a rung at which it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.call.response import parse_stored
from extractors.core.calls import TokenLogprobs
from extractors.record.tables.stored_calls import AnswerName, read_published_answers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from extractors.core import Reply, RunInfo
    from extractors.record.ledger import Ledger
    from extractors.record.ledger.calls import AnsweredCall
    from extractors.record.ledger.schema import CallId
    from extractors.record.output.base import Output
    from extractors.record.tables.stored_calls import PublishedAnswer

FLOW = "tune"


@dataclass(slots=True)
class ReusedReplies:
    """The paid replies as one reading takes them: `taken` are those that it used, in order."""

    paid: Mapping[str, Reply]
    taken: list[Reply] = field(default_factory=list)
    used: list[CallId] = field(default_factory=list)  # none: the ledger keeps replies of unfinished documents for runs

    def refresh(self) -> None:
        """The paid replies are read once, before the first reading."""

    async def reply(self, request: str) -> Reply | None:
        """The reply to this request, if there is one."""
        reply = self.paid.get(request)
        if reply is not None:
            self.taken.append(reply)
        return reply


def load_paid_replies(ledger: Ledger, output: Output, run_info: RunInfo, keys: Collection[str]) -> dict[str, Reply]:
    """The latest reply to each request about this content. Blocks: call it in a thread.

    A reply of a run without confidence is left out: it has no log probabilities, and a new call would give them.
    """
    calls = ledger.calls.list_answered(run_info, keys)
    published = read_published_answers(output, run_info.schema, calls)
    replies: dict[str, Reply] = {}
    for call in calls:
        reply = _read_in_ledger(ledger, call)
        if reply is None and (answer := published.get(AnswerName(call.run, call.document, call.attempt))):
            reply = _read_published(answer)
        if reply is not None and (reply.logprobs is not None or call.flow == FLOW):
            replies[call.request] = reply
    return replies


def _read_published(answer: PublishedAnswer) -> Reply:
    has_tokens = answer.tokens is not None and answer.logprobs is not None
    logprobs = TokenLogprobs(tuple(answer.tokens or ()), tuple(answer.logprobs or ())) if has_tokens else None
    return parse_stored(answer.body, logprobs=logprobs)


def _read_in_ledger(ledger: Ledger, call: AnsweredCall) -> Reply | None:
    stored = ledger.calls.stored_reply(call.call)
    return parse_stored(stored.body, logprobs=stored.logprobs) if stored else None
