"""Reuse of answers: documents with the same content share one answer, and replies paid by earlier runs are used."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from extractors.call.response import parse_stored
from extractors.core import Accepted, Copied, Failed, Unfinished
from extractors.record.tables.writer import table_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from extractors.core import DocumentResult, Planned, Reply, RunInfo
    from extractors.record.ledger.calls import Calls
    from extractors.record.ledger.schema import CallId
    from extractors.record.tables.row_index import RowIndex
    from extractors.record.tables.volume import PartId
    from extractors.record.tables.writer import Tables


@dataclass(slots=True)
class Deduplicator:
    """Finds documents with the same content by their key. Call all methods in the run's event loop.

    A result is held in memory only until its chunk is staged: then `row_index` knows where its row is.
    """

    tables: Tables
    row_index: RowIndex
    _in_progress: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _unstaged: dict[str, Accepted | Failed] = field(default_factory=dict)
    _examined: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run_once(
        self, planned: Planned, key: str, answer: Callable[[], Awaitable[Accepted | Copied | Failed | Unfinished]]
    ) -> Accepted | Copied | Failed | Unfinished:
        """Returns a copy of the earlier result of this key, else the result of `answer`. Raises OutputError.

        While another document of this key is in progress, this one waits; if that one is left unfinished, this one calls.
        """
        while (first := self._in_progress.get(key)) is not None:
            await asyncio.wait([first])  # cancelling the waiter does not cancel the first
        ended = self._in_progress[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._copy(planned, key) or self._hold(key, await answer())
        finally:
            del self._in_progress[key]
            ended.set_result(None)

    def note_staged(self, part: PartId, results: Sequence[Accepted | Copied | Failed | Unfinished]) -> None:
        """Records that these results are now the rows of this part, in this order."""
        heights = Counter[str]()
        for result in results:
            if isinstance(result, Unfinished):
                continue
            table = table_of(result)
            if result.key is not None and self._unstaged.get(result.key) is result:
                self.row_index.add(result.key, table, part, heights[table])
                del self._unstaged[result.key]
            heights[table] += 1
        self.row_index.note_staged(part, heights)

    async def hold_examined(self, result: Accepted, examining: Coroutine[None, None, DocumentResult]) -> DocumentResult:
        """Awaits the examination of a result, which is held from then on with what that adds; copies of it wait meanwhile."""
        key = result.key or ""
        if self._unstaged.get(key) is not result:
            return await examining
        ended = self._examined[key] = asyncio.get_running_loop().create_future()
        try:
            examined = await examining
            if isinstance(examined, Accepted):
                self._unstaged[key] = examined
            return examined
        finally:
            del self._examined[key]
            ended.set_result(None)

    async def complete_copy(self, copy: Copied) -> Copied:
        """The copy with what the examination of its original adds, once that has ended."""
        ended = self._examined.get(copy.key or "")
        if ended is None:
            return copy
        await asyncio.wait([ended])
        return await self._copy(copy.planned, copy.key or "") or copy

    async def _copy(self, planned: Planned, key: str) -> Copied | None:
        if (result := self._unstaged.get(key)) is not None:
            return _copy_of(planned, key, self.tables.build_row(result), failed=isinstance(result, Failed))
        if not self.row_index.loaded:
            await self._load_published()
        place = self.row_index.find(key)
        row = None if place is None else await asyncio.to_thread(self.row_index.read_row, place, key)
        return None if place is None or row is None else _copy_of(planned, key, row, failed=place.failed)

    async def _load_published(self) -> None:
        async with self._opening:
            if not self.row_index.loaded:
                await asyncio.to_thread(self.row_index.load_published)

    def _hold(
        self, key: str, result: Accepted | Copied | Failed | Unfinished
    ) -> Accepted | Copied | Failed | Unfinished:
        """Holds a result that depends on the content alone; that a file is missing says nothing about its copies."""
        if isinstance(result, Accepted) or (isinstance(result, Failed) and result.is_about_content):
            result = self._unstaged[key] = result if result.key == key else replace(result, key=key)
        return result


class Replies(Protocol):
    """Replies that earlier runs paid for; `used` are those that the ledger need not keep any longer."""

    used: list[CallId]

    def refresh(self) -> None:
        """Reads the ledger again. Blocks: call it in a thread."""

    async def reply(self, request: str) -> Reply | None:
        """Takes the reply to this request, if there is one."""


@dataclass(slots=True)
class OrphanedReplies:
    """Replies that earlier runs paid for without publishing their documents, by request; each is used once.

    `earlier` are the writers of earlier attempts at the same shard.
    """

    calls: Calls
    run_info: RunInfo
    earlier: Sequence[int] = ()
    used: list[CallId] = field(default_factory=list)
    _waiting: dict[str, CallId] = field(default_factory=dict)

    def refresh(self) -> None:
        """Reads the ledger again: a killed run may have been recovered meanwhile. Blocks: call it in a thread."""
        used = set(self.used)
        orphaned = self.calls.orphaned_replies(self.run_info)
        if self.earlier:
            orphaned |= self.calls.answered_calls(self.run_info.run, self.earlier)
        self._waiting = {request: call for request, call in orphaned.items() if call not in used}

    async def reply(self, request: str) -> Reply | None:
        """Takes the reply to this request, if there is one."""
        call = self._waiting.pop(request, None)
        if call is None:
            return None
        stored = await asyncio.to_thread(self.calls.stored_reply, call)
        if stored is None:  # another run has used it meanwhile
            return None
        self.used.append(call)
        return parse_stored(stored.body, logprobs=stored.logprobs)


def _copy_of(planned: Planned, key: str, row: dict[str, object], *, failed: bool) -> Copied:
    return Copied(planned, (), key, datetime.now(UTC), row, failed)
