"""Reads width, height, format, frames and orientation from an image's header, and bills it by both documented rules.

No pixel is decoded. Ordinary files are read by `plain_header`, all others by Pillow.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from extractors.bill.plain_header import read_plain_header
from extractors.core import BilledPage, Found, Header, tiles
from extractors.core.tiles import Size
from extractors.images.limits import MAX_PIXELS
from extractors.images.open import BROKEN, open_picture, refuse_pixels, translate_errors
from extractors.images.tiff import check_supported, is_tiff, read_frames
from extractors.images.turn import SWAPPED, square_size

if TYPE_CHECKING:
    from typing import BinaryIO

    from extractors.images.tiff import Frame

_FORMULA, _TABLE = tiles.get_rule("formula"), tiles.get_rule("table")


def bill_page(found: Found, header: Header, note: str | None = None) -> BilledPage:
    """Bill a page with this header at its own size by both documented rules."""
    return BilledPage(found, header, *_bill_size(header.size), note=note)


@lru_cache(maxsize=4096)  # as ladders, of few sizes
def _bill_size(size: Size) -> tuple[int, int]:
    return _FORMULA.tokens(size), _TABLE.tokens(size)


def read_header(stream: BinaryIO, page: int | None = None) -> Header:
    """Read the header at the start of `stream`, or that of a TIFF's frame by its number, from 1.

    Raises DocumentError for bytes that are no readable image.
    """
    if page is None and (plain := read_plain_header(stream)):
        return plain
    stream.seek(0)
    if frames := list_frames(stream):
        return describe_frame(frames[(page or 1) - 1], len(frames))
    return read_by_pillow(stream, page)


def read_by_pillow(stream: BinaryIO, page: int | None = None) -> Header:
    """Read the header of any file but a TIFF. Raises DocumentError for bytes that are no readable image."""
    picture = open_picture(stream, "bill", page)
    with translate_errors("unreadable", "bill"):
        orientation = _read_orientation(picture)
        count = getattr(picture, "n_frames", 1)
    size = _check_pixels(square_size(*picture.size, _read_density(picture)))
    size = Size(size.height, size.width) if orientation in SWAPPED else size
    if picture.format == "MPO":  # a JPEG with previews of itself behind it, as some phones write
        return Header(size, "JPEG", 1, orientation)
    return Header(size, picture.format or "", count, orientation)


def list_frames(stream: BinaryIO) -> list[Frame]:
    """List the frames of a TIFF that are pages; none for another format. Raises DocumentError for a broken TIFF."""
    head = stream.read(16)
    stream.seek(0)
    if not is_tiff(head):
        return []
    with translate_errors("unreadable", "bill"):
        return read_frames(stream, "bill")


def describe_frame(frame: Frame, frames: int) -> Header:
    """Make the header of one TIFF frame among several. Raises DocumentError for one that cannot be decoded right."""
    check_supported(frame, "bill")
    size = _check_pixels(square_size(*frame.size, frame.density))
    size = Size(size.height, size.width) if frame.orientation in SWAPPED else size
    return Header(size, "TIFF", frames, frame.orientation)


def _read_density(picture: Image.Image) -> tuple[float, float]:
    """Read the dots in a unit of width and of height; (1, 1) where they are not given."""
    for name in ("dpi", "aspect", "jfif_density"):
        values = picture.info.get(name)
        if isinstance(values, tuple) and len(values) == 2:
            with suppress(TypeError, ValueError, ZeroDivisionError):
                return float(values[0]), float(values[1])
    return 1.0, 1.0


def _check_pixels(size: Size) -> Size:
    if size.width * size.height > MAX_PIXELS:
        raise refuse_pixels(*size, "bill")
    return size


def _read_orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8, from the metadata before the pixels (a PNG may hold it behind them: then 1)."""
    orientation: object = 1
    with suppress(*BROKEN):  # damaged metadata does not make the picture unreadable
        if picture.format in {"PNG", "WEBP", "AVIF", "HEIF"}:
            exif = Image.Exif()
            exif.load(picture.info.get("exif") or b"")
        else:
            exif = picture.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) and orientation in range(1, 9) else 1
