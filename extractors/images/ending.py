"""Tells whether compressed pixels reach their end: copies and downloads that were interrupted are filled up with zeros.

Decoders take zeros for data: below the place where a JPEG, a WebP or a HEIF breaks off they draw a flat or smeared area.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from extractors.core.errors import DocumentError
from extractors.images.jpeg import SOS, iter_segments
from extractors.images.open import open_picture, translate_errors

if TYPE_CHECKING:
    from collections.abc import Callable

_FILLS = tuple(byte * 4096 + b"\xff\xd9" for byte in (b"\x2a", b"\x55"))
_LEAST_ZEROS = 1024  # bytes; compressed pixels hold no such run at their end


def has_end(data: bytes, kind: str) -> bool:
    """Tell whether a JPEG, a PNG or a WebP has the mark of its end."""
    return _ENDS[kind](data)


def check_end(data: bytes, kind: str, stage: str) -> None:
    """Raise DocumentError `unreadable` for a picture whose pixels end in zeros."""
    if data[-1:] == b"\0" and kind in _PIXELS:
        end = _PIXELS[kind](data)
        zeros = end - len(data[:end].rstrip(b"\0"))
        if zeros >= _LEAST_ZEROS:
            message = f"cannot be decoded: its last {zeros:,} bytes are zeros, as an interrupted copy leaves them"
            raise DocumentError(message, kind="unreadable", stage=stage)


def is_cut(jpeg: bytes) -> bool:
    """Tell whether a JPEG breaks off before its last pixel. One that lacks nothing but the mark of its end does not.

    What is added behind the last pixel changes none; a decoder that lacks pixels takes it for them.
    """
    if has_end(jpeg, "JPEG"):
        return False
    try:
        check_end(jpeg, "JPEG", "prepare")
        return _decode(jpeg + _FILLS[0]) != _decode(jpeg + _FILLS[1])
    except DocumentError:
        return True


def _decode(jpeg: bytes) -> bytes:
    with translate_errors("unreadable", "prepare"):
        return open_picture(BytesIO(jpeg), "prepare").tobytes()


def _ends_jpeg(data: bytes) -> bool:
    """Tell whether an end-of-image marker follows the first scan; in entropy-coded data 0xFF is always stuffed."""
    return any(marker == SOS and data.rfind(b"\xff\xd9", place) > 0 for marker, place in iter_segments(data))


def _ends_png(data: bytes) -> bool:
    return data.rfind(b"IEND") > 0


def _ends_webp(data: bytes) -> bool:
    return len(data) >= int.from_bytes(data[4:8], "little") + 8


def _find_jpeg_pixels(data: bytes) -> int:
    return 0 if _ends_jpeg(data) else len(data)


def _find_webp_pixels(data: bytes) -> int:
    return min(int.from_bytes(data[4:8], "little") + 8, len(data))


def _find_box_pixels(data: bytes) -> int:
    """Give the end of a HEIF or AVIF file whose last box holds its pixels; 0 for others."""
    position, kind = 0, b""
    while position + 8 <= len(data):
        size, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16])
        if size == 0 or position + size >= len(data):
            return len(data) if kind == b"mdat" else 0
        if size < 8:
            return 0
        position += size
    return 0


_ENDS: dict[str, Callable[[bytes], bool]] = {"JPEG": _ends_jpeg, "PNG": _ends_png, "WEBP": _ends_webp}
# For each format where the pixels would end: what is behind them may be anything.
_PIXELS: dict[str, Callable[[bytes], int]] = {
    "JPEG": _find_jpeg_pixels,
    "WEBP": _find_webp_pixels,
    "HEIF": _find_box_pixels,
    "AVIF": _find_box_pixels,
}
