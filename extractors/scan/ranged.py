"""A file that lies elsewhere as a stream: what is read is fetched, a block at a time, and only that."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 64 * 2**10  # most headers end before it
_MOST_AHEAD = 2**20  # bytes asked for at once beyond what is read


class Ranged(io.RawIOBase):
    """A seekable stream of `size` bytes, of which `head` is there; `fetch(start, end)` gives others.

    Each fetch asks for twice as much as the last one, so a long header needs few. Raises what `fetch` raises.
    """

    def __init__(self, head: bytes, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size, self._fetch, self._at, self._ahead = size, fetch, 0, BLOCK
        self._blocks: dict[int, bytes] = {}
        self._keep(0, head)

    def seekable(self) -> bool:
        """Any place can be read."""
        return True

    def readable(self) -> bool:
        """Reading is all that can be done."""
        return True

    def tell(self) -> int:
        """The place that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place without fetching anything. Raises ValueError for one before the start."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if place < 0:
            raise ValueError(f"negative seek position {place}")
        self._at = place
        return place

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer only at the end; all that are left without a number."""
        start = min(self._at, self._size)
        end = self._size if size is None or size < 0 else min(start + size, self._size)
        if end <= start:
            return b""
        first, last = start // BLOCK, (end - 1) // BLOCK
        self._load(first, last)
        whole = (
            b"".join(self._blocks[index] for index in range(first, last + 1)) if first < last else self._blocks[first]
        )
        self._at = end
        return whole[start - first * BLOCK : end - first * BLOCK]

    def _load(self, first: int, last: int) -> None:
        missing = [index for index in range(first, last + 1) if index not in self._blocks]
        if missing:
            start = missing[0] * BLOCK
            self._ahead = min(2 * self._ahead, _MOST_AHEAD)
            end = min(max((missing[-1] + 1) * BLOCK, start + self._ahead), self._size)
            self._keep(start, self._fetch(start, end))

    def _keep(self, start: int, data: bytes) -> None:
        for offset in range(0, len(data), BLOCK):
            self._blocks[(start + offset) // BLOCK] = data[offset : offset + BLOCK]
