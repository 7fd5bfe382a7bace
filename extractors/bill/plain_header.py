"""Reads the headers of ordinary JPEG, PNG and WebP files without Pillow, in a fraction of its time.

What is odd, rare, cut short or broken gives None, and is left to Pillow: the header of a JPEG or PNG that is read here
is the one that Pillow gives. Of a WebP only the length is checked: Pillow would read the whole file.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from extractors.core import Header
from extractors.core.tiles import Size
from extractors.images.limits import MAX_PIXELS
from extractors.images.turn import SWAPPED, square_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    ReadAt = Callable[[int, int], bytes]

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SOF = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive frames of Huffman codes
_SOS, _DQT = 0xDA, 0xDB
_SKIPPED = frozenset({0xC4, 0xDD, 0xFE, *range(0xE3, 0xED), 0xEF})  # code tables, restarts, comments, unknown metadata
_NAMES = {  # of the metadata that Pillow reads, by marker: a prefix, and the least length with which it is whole
    0xE0: ((b"JFIF", 12),),
    0xE1: ((b"Exif\0\0", 14), (b"http://ns.adobe.com/xap/1.0/\0", 29)),
    0xE2: ((b"ICC_PROFILE\0", 14),),
    0xEE: ((b"Adobe", 12),),
}
_JFIF, _EXIF, _XMP = _NAMES[0xE0][0][0], _NAMES[0xE1][0][0], _NAMES[0xE1][1][0]
_ORIENTATION = 0x0112
_FORMS = {
    _ORIENTATION: (3, 1),
    0x011A: (5, 1),
    0x0128: (3, 1),
}  # type and count of the EXIF fields that Pillow looks at
_FIELD_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # of EXIF's types
_PNG_KINDS = frozenset(  # bits and colour type
    ((1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4), (8, 6), (16, 6))
)
_CHUNK_SIZES = {b"pHYs": 9, b"gAMA": 4, b"sRGB": 1, b"cHRM": 32}
_ANY_SIZE = frozenset({b"PLTE", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"tIME", b"bKGD", b"sBIT", b"iDOT"})
_MOST_CHUNK = 2**20  # bytes
_BLOCK = 4096  # bytes that are read at once: most headers end within the first ones
_FRAME = struct.Struct(">BHHB")
_ANIMATION, _WEBP_EXIF = 0x02, 0x08  # flags of VP8X: several frames, and an orientation at the end of the file


def read_plain_header(stream: BinaryIO) -> Header | None:
    """Read the header of an ordinary file; None for all others. The stream may be at any place, before and after."""

    def read(count: int, offset: int) -> bytes:
        stream.seek(offset)
        return stream.read(count)

    return parse_plain_header(read, lambda: stream.seek(0, io.SEEK_END))


def parse_plain_header(read: ReadAt, measure: Callable[[], int]) -> Header | None:
    """As `read_plain_header`, of the bytes that `read` gives of a count at an offset; `measure` gives the file's length."""
    try:
        head = read(_BLOCK, 0)
        if head.startswith(_JPEG):
            return _read_jpeg(head, read)
        if head.startswith(_PNG):
            return _read_png(head, read)
        return _read_webp(head[:30], measure)
    except OSError:  # Pillow meets it again, and its error is translated
        return None


@lru_cache(maxsize=4096)  # what one camera took, or one scanner, is all of a few sizes
def _make_header(kind: str, size: Size, density: tuple[float, float], orientation: int) -> Header | None:
    if not 0 < size.width * size.height <= MAX_PIXELS:
        return None
    square = square_size(*size, density)
    if square.width * square.height > MAX_PIXELS:
        return None
    return Header(Size(square.height, square.width) if orientation in SWAPPED else square, kind, 1, orientation)


# --- JPEG


def _read_jpeg(head: bytes, read: ReadAt) -> Header | None:
    segments = _read_segments(head, read)
    frame = segments.get(b"SOF") if segments else None
    if segments is None or frame is None or len(frame) < 6 or frame[5] not in {1, 3, 4}:
        return None
    bits, height, width, layers = _FRAME.unpack_from(frame)
    orientation = _find_orientation(segments)
    if bits != 8 or len(frame) != 6 + 3 * layers or orientation is None:
        return None
    return _make_header("JPEG", Size(width, height), _find_density(segments), orientation)


def _read_segments(head: bytes, read: ReadAt) -> dict[bytes, bytes] | None:
    """Read the frame and the metadata before the first scan, by name; None where one is repeated, cut or not known."""
    segments: dict[bytes, bytes] = {}
    data, start, place = head, 0, 2  # `data` are the bytes of the file from `start` on
    while True:
        if place + 4 > len(data):
            data, start, place = read(_BLOCK, start + place), start + place, 0
        if len(data) < place + 4 or data[place] != 0xFF:
            return None
        marker, length = data[place + 1], (data[place + 2] << 8 | data[place + 3]) - 2
        end = place + 4 + length
        if length <= 0:
            return None
        if marker in _SKIPPED:
            place = end
            continue
        if end > len(data):
            data, start, place, end = read(max(_BLOCK, length + 4), start + place), start + place, 0, length + 4
            if end > len(data):
                return None
        if marker == _SOS:
            return segments
        if not _keep_segment(segments, marker, data[place + 4 : end]):
            return None
        place = end


def _keep_segment(segments: dict[bytes, bytes], marker: int, body: bytes) -> bool:
    """Keep the body of a segment by its name; False for one that is repeated or not known."""
    if marker == _DQT and _has_whole_tables(body):
        return True
    name = b"SOF" if marker in _SOF else _name_metadata(marker, body)
    if name is None or name in segments:
        return False
    segments[name] = body
    return True


def _has_whole_tables(body: bytes) -> bool:
    """Tell whether quantization tables, of one or of two bytes a value, fill this segment."""
    place = 0
    while place < len(body):
        place += 65 if body[place] < 16 else 129
    return place == len(body)


def _name_metadata(marker: int, body: bytes) -> bytes | None:
    for name, least in _NAMES.get(marker, ()):
        if body.startswith(name) and len(body) >= least:
            return name
    return None


def _find_orientation(segments: Mapping[bytes, bytes]) -> int | None:
    """Give the orientation of EXIF, 1 without any; None where only XMP has one, or where EXIF is odd."""
    orientation = _parse_orientation(segments[_EXIF][6:]) if _EXIF in segments else 0
    if orientation == 0 and b"tiff:Orientation" in segments.get(_XMP, b""):
        return None
    return 1 if orientation == 0 else orientation


def _find_density(segments: Mapping[bytes, bytes]) -> tuple[float, float]:
    """Give the dots in a unit of width and of height; EXIF's are taken to be square where JFIF has none with a unit."""
    unit, across, down = struct.unpack_from(">BHH", segments[_JFIF], 7) if _JFIF in segments else (0, 1, 1)
    if unit == 2:
        return across * 2.54, down * 2.54
    return (1.0, 1.0) if unit != 1 and _EXIF in segments else (across, down)


def _parse_orientation(exif: bytes) -> int | None:
    """Give the orientation in EXIF's first directory, 1 where it has no meaning, 0 without any; None for odd EXIF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return None
    (start,) = struct.unpack_from(order + "I", exif, 4)
    if start + 6 > len(exif):
        return None
    (count,) = struct.unpack_from(order + "H", exif, start)
    end = start + 2 + 12 * count
    if end + 4 > len(exif):
        return None
    return _search_directory(exif, struct.iter_unpack(order + "HHI4s", exif[start + 2 : end]), order)


def _search_directory(exif: bytes, fields: Iterator[tuple[int, int, int, bytes]], order: str) -> int | None:
    orientation, total = 0, 0
    for tag, kind, count, value in fields:
        size = count * _FIELD_SIZES.get(kind, 0)
        if not size or _FORMS.get(tag, (kind, count)) != (kind, count):
            return None
        if size > 4:
            total += size
            if total > len(exif) or int.from_bytes(value, "little" if order == "<" else "big") + size > len(exif):
                return None
        if tag == _ORIENTATION:
            if orientation:
                return None
            (number,) = struct.unpack_from(order + "H", value)
            orientation = number if 1 <= number <= 8 else 1
    return orientation


# --- PNG


def _read_png(head: bytes, read: ReadAt) -> Header | None:
    if len(head) < 33 or head[8:16] != b"\0\0\0\rIHDR" or not _has_checksum(head[12:33]):
        return None
    width, height, *kind, _, filtering, _ = struct.unpack_from(">IIBBBBB", head, 16)
    chunks = _read_chunks(head, read)
    if chunks is None or tuple(kind) not in _PNG_KINDS or filtering:
        return None
    orientation = _parse_orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    if orientation is None:
        return None
    across, down, unit = struct.unpack(">IIB", chunks[b"pHYs"]) if b"pHYs" in chunks else (1, 1, 0)
    density = (across * 0.0254, down * 0.0254) if unit == 1 else (across, down) if unit == 0 else (1, 1)
    return _make_header("PNG", Size(width, height), density, orientation or 1)


def _read_chunks(head: bytes, read: ReadAt) -> dict[bytes, bytes] | None:
    """Read the chunks between the header and the pixels; None where one is repeated, cut or not known."""
    chunks: dict[bytes, bytes] = {}
    data, start, place = head, 0, 33  # as in _read_segments
    while True:
        if place + 8 > len(data):
            data, start, place = read(_BLOCK, start + place), start + place, 0
        name, length = data[place + 4 : place + 8], int.from_bytes(data[place : place + 4])
        if name == b"IDAT":
            return chunks
        if length > _MOST_CHUNK or (name not in _ANY_SIZE and _CHUNK_SIZES.get(name) != length):
            return None
        end = place + 12 + length
        if end > len(data):
            data, start, place, end = read(max(_BLOCK, length + 12), start + place), start + place, 0, length + 12
        if end > len(data) or (name in chunks and name in {b"eXIf", b"pHYs"}):
            return None
        if name == b"PLTE" and not _has_checksum(data[place + 4 : end]):
            return None
        chunks[name], place = data[place + 8 : end - 4], end


def _has_checksum(chunk: bytes) -> bool:
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:])


# --- WebP


def _read_webp(head: bytes, measure: Callable[[], int]) -> Header | None:
    """Read the header of a complete WebP of one frame without EXIF: Pillow would read the whole file for it."""
    size = _parse_webp_size(head) if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) == 30 else None
    if size is None or measure() < int.from_bytes(head[4:8], "little") + 8:
        return None
    return _make_header("WEBP", size, (1, 1), 1)


def _parse_webp_size(head: bytes) -> Size | None:
    kind, data = head[12:16], head[20:]
    if kind == b"VP8 " and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a":
        return Size(int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF)
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and not data[0] & (_ANIMATION | _WEBP_EXIF):
        return Size(int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1)
    return None
