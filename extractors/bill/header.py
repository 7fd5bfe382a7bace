"""Reads width, height, format, frames and orientation from an image's header, and bills it by both documented rules.

No pixel is decoded. The size of a plain WebP comes from its first 30 bytes: Pillow would read the whole file for it.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from extractors.core import Billed, Found, Header, tiles
from extractors.core.tiles import Size
from extractors.images.open import BROKEN, MAX_PIXELS, open_picture, translate_errors

if TYPE_CHECKING:
    from typing import BinaryIO

_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap the sides
_ANIMATION, _EXIF = 0x02, 0x08  # flags of VP8X: several frames, and an orientation at the end of the file
_FORMULA, _TABLE = tiles.get_rule("formula"), tiles.get_rule("table")


def bill_page(found: Found, header: Header) -> Billed:
    """Bill a page with this header at its own size by both documented rules."""
    return Billed(found, header, _FORMULA.tokens(header.size), _TABLE.tokens(header.size))


def read_header(stream: BinaryIO, page: int | None = None) -> Header:
    """Read the header at the start of `stream`, or that of a frame by its number, from 1.

    Raises DocumentError for bytes that are no readable image.
    """
    if page is None and (plain := read_plain_webp(stream)):
        return Header(plain, "WEBP", 1, 1)
    picture = open_picture(stream, "bill", page)
    with translate_errors("unreadable", "bill"):
        orientation = _read_orientation(picture)
        frames = getattr(picture, "n_frames", 1)
    width, height = picture.size
    # Pillow's TIFF reader turns the picture itself.
    turned = orientation in _TURNED and picture.format != "TIFF"
    size = Size(height, width) if turned else Size(width, height)
    if picture.format == "MPO":  # a JPEG with previews of itself behind it, as some phones write
        return Header(size, "JPEG", 1, orientation)
    return Header(size, picture.format or "", frames, orientation)


def _read_orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8, from the metadata before the pixels (a PNG may hold it behind them: then 1)."""
    orientation: object = 1
    with suppress(*BROKEN):  # damaged metadata does not make the picture unreadable
        if picture.format in {"PNG", "WEBP", "AVIF"}:
            exif = Image.Exif()
            exif.load(picture.info.get("exif") or b"")
        else:
            exif = picture.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) and orientation in range(1, 9) else 1


def read_plain_webp(stream: BinaryIO) -> Size | None:
    """Read the size of a complete WebP of one frame without EXIF; None, with the stream at its start, for all others."""
    head = stream.read(30)
    size = _parse_webp_size(head) if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) == 30 else None
    whole = size is not None and stream.seek(0, io.SEEK_END) >= int.from_bytes(head[4:8], "little") + 8
    stream.seek(0)
    return size if size and whole and size.width * size.height <= MAX_PIXELS else None


def _parse_webp_size(head: bytes) -> Size | None:
    kind, data = head[12:16], head[20:]
    if kind == b"VP8 " and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a":
        return _make_size(int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF)
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return _make_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and not data[0] & (_ANIMATION | _EXIF):
        return _make_size(int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1)
    return None


def _make_size(width: int, height: int) -> Size | None:
    return Size(width, height) if width and height else None
