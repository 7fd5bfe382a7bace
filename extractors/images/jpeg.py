"""Reads the frame of an ordinary JPEG without Pillow, which takes twenty times as long."""

from __future__ import annotations

import struct
from typing import NamedTuple

from extractors.core.tiles import Size

_START = b"\xff\xd8\xff"
_SOF = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive frames of Huffman codes
_OTHER_SOF = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})  # lossless, arithmetic codes
_SOS = 0xDA
_BARE = frozenset({0x01, 0xFF, *range(0xD0, 0xDA)})  # fill bytes, and markers without a length
_FRAME = struct.Struct(">BHHB")


class Frame(NamedTuple):
    """The frame of a JPEG of 8 bits a sample: its size, its components, and where its first scan begins."""

    size: Size
    components: int
    scan: int


def find_frame(data: bytes) -> Frame | None:
    """Give the frame of these bytes; None where they are no JPEG, or one that is odd or cut short before its first scan."""
    frame, place = None, 2
    while data.startswith(_START) and place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], data[place + 2] << 8 | data[place + 3]
        if marker == _SOS:
            return frame and Frame(*frame, place)
        end = place + 2 + length
        if marker in _BARE or marker in _OTHER_SOF or length < 2 or end > len(data):
            return None
        if marker in _SOF:
            if frame or length < 8:
                return None
            bits, height, width, components = _FRAME.unpack_from(data, place + 4)
            if bits != 8 or length != 8 + 3 * components:
                return None
            frame = Size(width, height), components
        place = end
    return None
