"""Copies: the same content is paid for once: later documents of it are given what the first was, or an earlier run's row."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractors.core import Accepted, Copied, Failed, Unfinished
from extractors.record.tables.writer import table_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from extractors.core import Planned
    from extractors.record.tables.row_index import RowIndex
    from extractors.record.tables.writer import Tables


@dataclass(slots=True)
class Deduplicator:
    """Who has asked for which content in this run, by its key. All methods are for the run's event loop.

    A document is held here only until its chunk is staged: from then on `originals` knows where its row lies.
    """

    tables: Tables
    row_index: RowIndex
    _under_way: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _ended: dict[str, Accepted | Failed] = field(default_factory=dict)  # and not staged yet
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run_once(
        self, planned: Planned, key: str, answer: Callable[[], Awaitable[Accepted | Copied | Failed | Unfinished]]
    ) -> Accepted | Copied | Failed | Unfinished:
        """What `answer` comes to, or a copy of what the content of this key came to before. Raises OutputError.

        Who asks while another document is being answered about waits for it; if that one is left, the next one asks.
        """
        while (first := self._under_way.get(key)) is not None:
            await asyncio.wait([first])  # which a waiter that is cancelled does not cancel
        ended = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._copy(planned, key) or self._noted(key, await answer())
        finally:
            del self._under_way[key]
            ended.set_result(None)

    def staged(self, part: int, ends: Sequence[Accepted | Copied | Failed | Unfinished]) -> None:
        """These ends are rows of this part now, in this order."""
        heights = Counter[str]()
        for end in ends:
            if isinstance(end, Unfinished):
                continue
            table = table_of(end)
            if end.key is not None and self._ended.get(end.key) is end:
                self.row_index.add(end.key, table, part, heights[table])
                del self._ended[end.key]
            heights[table] += 1
        self.row_index.staged(part, heights)

    async def _copy(self, planned: Planned, key: str) -> Copied | None:
        if (end := self._ended.get(key)) is not None:
            return _copied(planned, key, self.tables.row(end), failed=isinstance(end, Failed))
        async with self._opening:
            if not self.row_index.opened:
                await asyncio.to_thread(self.row_index.open)
        place = self.row_index.find(key)
        row = None if place is None else await asyncio.to_thread(self.row_index.row, place, key)
        return None if place is None or row is None else _copied(planned, key, row, failed=place.failed)

    def _noted(self, key: str, end: Accepted | Copied | Failed | Unfinished) -> Accepted | Copied | Failed | Unfinished:
        """Remembers an end that says something of the content; that a file has gone meanwhile says nothing of its copies."""
        if isinstance(end, Accepted) or (isinstance(end, Failed) and not end.rejected):
            end = self._ended[key] = replace(end, key=key)
        return end


def _copied(planned: Planned, key: str, row: dict[str, object], *, failed: bool) -> Copied:
    return Copied(planned, (), key, datetime.now(UTC), row, failed)
