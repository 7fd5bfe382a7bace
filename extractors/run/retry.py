"""Retries of a document: which request follows an answer that was not accepted or is not sure, and when it has failed.

Retries of a call after a network or server error are in call/retry.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.call.request import Feedback
from extractors.core.errors import DocumentError

if TYPE_CHECKING:
    from extractors.core import Accepted, Reply, Verdict

TRANSIENT = frozenset({"server_error", "capacity", "timeout", "connection"})  # outcomes that use up call attempts
MAX_ANSWERS = 8  # to one document, for all outcomes together
MAX_TOKENS_FACTOR = 4  # how far `max_tokens` is raised, by doubling, for a truncated answer


@dataclass(frozen=True, slots=True)
class RetryState:
    """The state of a document between two calls: its rung, its token limit, the re-asks left, and the last errors.

    `accepted` are the accepted answers of lower rungs that were not sure enough, in the order of their rungs.
    """

    rung: int
    max_tokens: int
    reasks: int
    token_ceiling: int
    stepped_down: bool = False
    answers: int = 0
    feedback: Feedback | None = None
    ran_away: bool = False
    accepted: tuple[Accepted, ...] = ()

    def after_answer(self, verdict: Verdict, reply: Reply, rungs: int) -> RetryState:
        """Returns the state after an answer that was not accepted. Raises DocumentError when the document has failed.

        A truncated answer is retried with more tokens, or once at the same limit where it repeats itself; a malformed one
        is re-asked with the errors in words, and a value that a validator refused is read again on the next rung. Rows that
        do not add up are read again on the next rung, and re-asked on the top one, with the difference in words.
        """
        state = replace(self, answers=self.answers + 1)
        if state.answers < MAX_ANSWERS:
            if verdict.runaway and not self.ran_away:
                return replace(state, ran_away=True, feedback=None)
            if verdict.outcome == "truncated" and not verdict.runaway and self.max_tokens < self.token_ceiling:
                return replace(state, max_tokens=min(2 * self.max_tokens, self.token_ceiling))
            if verdict.outcome in {"off_schema", "not_json", "empty"} and self.reasks:
                return replace(state, reasks=self.reasks - 1, feedback=_build_feedback(verdict, reply))
            feedback = _build_feedback(verdict, reply) if verdict.sum_differs else None
            if verdict.outcome == "refused" and self.rung + 1 < rungs:
                return replace(state, rung=self.rung + 1, feedback=feedback)
            if verdict.sum_differs and self.reasks:
                return replace(state, reasks=self.reasks - 1, feedback=feedback)
        final = verdict.outcome == "refused"
        raise DocumentError(verdict.errors, kind=verdict.outcome, stage="validate", final=final)

    def climb(self, answer: Accepted, rungs: int) -> RetryState | None:
        """Returns the state after an accepted answer that is not sure: the next rung; None where there is none."""
        if self.rung + 1 >= rungs or self.stepped_down or self.answers + 1 >= MAX_ANSWERS:
            return None
        accepted = (*self.accepted, answer)
        return replace(self, rung=self.rung + 1, answers=self.answers + 1, feedback=None, accepted=accepted)

    def step_down(self, error: DocumentError) -> RetryState:
        """Returns the state after a request that exceeded the context: one rung down, once.

        Raises `error` otherwise, and where a lower rung has an accepted answer.
        """
        if error.kind != "context_exceeded" or self.stepped_down or self.rung == 0 or self.accepted:
            raise error
        return replace(self, rung=self.rung - 1, stepped_down=True, feedback=None)


def _build_feedback(verdict: Verdict, reply: Reply) -> Feedback | None:
    return Feedback(reply.content, verdict.errors) if reply.content else None
