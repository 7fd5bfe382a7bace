"""The size of a plain WebP from its first 30 bytes: Pillow reads the whole file for it, which may lie in a bucket."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from extractors.core.tiles import Size
from extractors.images.open import MAX_PIXELS

if TYPE_CHECKING:
    from typing import BinaryIO

_ANIMATION, _EXIF = 0x02, 0x08  # flags of VP8X: frames to count, and an orientation that stands at the end


def read_plain_webp(stream: BinaryIO) -> Size | None:
    """The size of a whole WebP of one frame without EXIF; None leaves it to Pillow, with the stream at its start."""
    head = stream.read(30)
    size = _size(head) if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) == 30 else None
    whole = size is not None and stream.seek(0, io.SEEK_END) >= int.from_bytes(head[4:8], "little") + 8
    stream.seek(0)
    return size if size and whole and size.width * size.height <= MAX_PIXELS else None


def _size(head: bytes) -> Size | None:
    kind, data = head[12:16], head[20:]
    if kind == b"VP8 " and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a":
        return _of(int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF)
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return _of((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and not data[0] & (_ANIMATION | _EXIF):
        return _of(int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1)
    return None


def _of(width: int, height: int) -> Size | None:
    return Size(width, height) if width and height else None
