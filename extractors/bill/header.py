"""Width, height, format, frames and orientation from an image's header alone, and both documented readings of its bill."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from extractors.bill.webp import read_plain_webp
from extractors.core import Billed, Found, Header, tiles
from extractors.core.tiles import Size
from extractors.images.open import BROKEN, broken_as, open_picture

if TYPE_CHECKING:
    from typing import BinaryIO

_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap the sides
_FORMULA, _TABLE = tiles.rule("formula"), tiles.rule("table")


def billed(found: Found, header: Header) -> Billed:
    """A page with this header, billed as it is."""
    return Billed(found, header, _FORMULA.tokens(header.size), _TABLE.tokens(header.size))


def read_header(stream: BinaryIO, page: int | None = None) -> Header:
    """What the header at the start of `stream` says, or that of a frame by its number, from 1.

    Raises DocumentError for what is no image that can be read.
    """
    if page is None and (plain := read_plain_webp(stream)):
        return Header(plain, "WEBP", 1, 1)
    picture = open_picture(stream, "bill", page)
    with broken_as("unreadable", "bill"):
        orientation = _orientation(picture)
        frames = getattr(picture, "n_frames", 1)
    width, height = picture.size
    # Pillow's TIFF reader turns the picture itself.
    turned = orientation in _TURNED and picture.format != "TIFF"
    size = Size(height, width) if turned else Size(width, height)
    if picture.format == "MPO":  # a JPEG with previews of itself behind it, as some phones write
        return Header(size, "JPEG", 1, orientation)
    return Header(size, picture.format or "", frames, orientation)


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8, of what stands before the pixels (a PNG's may stand behind them: then it is 1)."""
    orientation: object = 1
    with suppress(*BROKEN):  # damaged metadata says nothing; the picture may be sound
        if picture.format in {"PNG", "WEBP", "AVIF"}:
            exif = Image.Exif()
            exif.load(picture.info.get("exif") or b"")
        else:
            exif = picture.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) and orientation in range(1, 9) else 1
