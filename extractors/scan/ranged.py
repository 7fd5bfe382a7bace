"""A remote file as a seekable stream that fetches only the blocks that are read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 64 * 2**10  # most headers end before it
_MAX_READ_AHEAD = 2**20  # bytes fetched at once beyond the read


class RangeReader(io.RawIOBase):
    """A seekable stream of `size` bytes that starts with `head`; `fetch(start, end)` returns the others.

    Each fetch reads twice as far ahead as the last one, so a long header needs few. Raises what `fetch` raises.
    """

    def __init__(self, head: bytes, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size, self._fetch, self._position, self._ahead = size, fetch, 0, BLOCK
        self._blocks: dict[int, bytes] = {}
        self._store(0, head)

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position without fetching. Raises ValueError for one before the start."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; without a size all the rest."""
        start = min(self._position, self._size)
        end = self._size if size is None or size < 0 else min(start + size, self._size)
        if end <= start:
            return b""
        first, last = start // BLOCK, (end - 1) // BLOCK
        self._fetch_missing(first, last)
        whole = (
            b"".join(self._blocks[index] for index in range(first, last + 1)) if first < last else self._blocks[first]
        )
        self._position = end
        return whole[start - first * BLOCK : end - first * BLOCK]

    def _fetch_missing(self, first: int, last: int) -> None:
        missing = [index for index in range(first, last + 1) if index not in self._blocks]
        if missing:
            start = missing[0] * BLOCK
            self._ahead = min(2 * self._ahead, _MAX_READ_AHEAD)
            end = min(max((missing[-1] + 1) * BLOCK, start + self._ahead), self._size)
            self._store(start, self._fetch(start, end))

    def _store(self, start: int, data: bytes) -> None:
        for offset in range(0, len(data), BLOCK):
            self._blocks[(start + offset) // BLOCK] = data[offset : offset + BLOCK]
