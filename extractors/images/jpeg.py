"""Reads the segments of a JPEG before its pixels, without Pillow, which takes ten times as long."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.tiles import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

SOS = 0xDA  # start of scan: the pixels follow
_START = b"\xff\xd8\xff"
_FILL = 0xFF
_SOF = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive frames of Huffman codes
_OTHER_SOF = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})  # lossless, arithmetic codes
_BARE = frozenset({0x01, *range(0xD0, SOS)})  # markers without a length
_FRAME = struct.Struct(">BHHB")


class JpegFrame(NamedTuple):
    """The frame of a JPEG of 8 bits a sample."""

    size: Size
    components: int


def iter_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Give marker and place of each segment up to the first scan; fewer where other bytes stand in place of a marker."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _FILL:
            place += 1
            continue
        yield marker, place
        if marker == SOS:
            return
        place += 2 + int.from_bytes(data[place + 2 : place + 4])


def find_frame(data: bytes) -> JpegFrame | None:
    """Give the frame of these bytes; None where they are no JPEG, or one that is odd or cut short before its first scan."""
    frame = None
    for marker, place in iter_segments(data) if data.startswith(_START) else ():
        if marker == SOS:
            return frame
        length = int.from_bytes(data[place + 2 : place + 4])
        if marker in _BARE or marker in _OTHER_SOF or length < 2 or place + 2 + length > len(data):
            return None
        if marker in _SOF:
            if frame or length < 8:
                return None
            bits, height, width, components = _FRAME.unpack_from(data, place + 4)
            if bits != 8 or length != 8 + 3 * components:
                return None
            frame = JpegFrame(Size(width, height), components)
    return None
