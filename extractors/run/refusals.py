"""Refusals of the request before the run's first answer: they stop the run instead of failing its documents.

A server that refuses a schema, a parameter, a model or an account refuses every document alike. Until the first answer
nothing tells such a refusal from one of a single document, so the results of refused documents are withheld:

| what happens next                          | withheld documents                                  |
|--------------------------------------------|-----------------------------------------------------|
| five documents with the same refusal       | unfinished, without a failure row; the run stops    |
| an answer, or the end of the documents     | failed, not for good: the next run takes them again |
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.core import Failed, Unfinished
from extractors.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from extractors.core import DocumentResult, Refusal
    from extractors.core.errors import RunError

MAX_CALLS = 16  # in flight before the first answer: what a wrong setting can cost
MAX_SAME = 5  # documents with the same refusal


@dataclass(slots=True)
class RefusalGuard:
    """Counts refusals, and limits the calls in flight, until the first answer. One event loop uses it."""

    answered: bool = False
    stopped: bool = False
    _documents: dict[Refusal, set[str]] = field(default_factory=dict)
    _withheld: list[Failed] = field(default_factory=list)
    _in_flight: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits while the calls in flight are at the limit and none has been answered."""
        if self.answered:
            yield
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self.answered or self._in_flight < MAX_CALLS)
            self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            async with self._changed:
                self._changed.notify_all()

    def confirm(self) -> None:
        """Notes the first answer: from here on a refusal is about its document."""
        self.answered = True

    def count(self, document: str, refusal: Refusal, message: str) -> RunError | None:
        """Counts a refused document; returns the error that stops the run at the fifth with the same refusal.

        `message` holds the server's words as they may be shown anywhere.
        """
        if self.answered:
            return None
        documents = self._documents.setdefault(refusal, set())
        documents.add(document)
        if len(documents) < MAX_SAME:
            return None
        self.stopped = True
        return Refused(
            f"the server refused {len(documents)} documents alike before it answered any: {message}; change what it"
            " names (model, schema, mode or another setting) and run again: no document was recorded as failed"
        )

    def withhold(self, results: Sequence[DocumentResult]) -> list[DocumentResult]:
        """Returns the results that can be recorded now; keeps refused documents whose fate is open."""
        decided: list[DocumentResult] = []
        for result in results:
            if not isinstance(result, Failed) or result.refusal is None or result.problem.final:
                decided.append(result)
            elif self.stopped or self.answered:
                decided.append(self._decide(result))
            else:
                self._withheld.append(result)
        return decided

    def release(self) -> list[DocumentResult]:
        """Returns the withheld results once no more documents come."""
        withheld, self._withheld = self._withheld, []
        return [self._decide(result) for result in withheld]

    def _decide(self, result: Failed) -> DocumentResult:
        return Unfinished(result.planned, result.attempts) if self.stopped else result
