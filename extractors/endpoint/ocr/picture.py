"""A picture as it travels: a base64 data URL. Its size comes from its header; its pixels are decoded only when they are read."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from extractors.core.tiles import Size
from extractors.endpoint.ocr.lift import number
from extractors.endpoint.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("JPEG", "PNG", "WEBP")
_HEADS = (2048, 64 * 1024)  # base64 characters, multiples of 4: most headers end within the first, nearly all in both
# What Pillow raises on bytes that are no picture, or only half of one.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


Encoded: TypeAlias = "str | memoryview"  # base64; a view where it was lifted out of its request


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a request: its size, and its bytes still in base64."""

    size: Size
    encoded: Encoded

    def pixels(self) -> Image.Image:
        """The picture in RGB, decoded. Refuses one that is cut short or damaged behind its header."""
        try:
            with Image.open(io.BytesIO(_decoded(self.encoded)), formats=FORMATS) as image:
                return image.convert("RGB")
        except _BROKEN:
            raise unreadable() from None


def picture(url: str, pieces: Sequence[memoryview] = ()) -> Picture:
    """The picture of a data URL, opened as far as its header. `pieces` were lifted out of the URL's request."""
    head, comma, written = url.partition(",")
    if not head[:5].lower() == "data:":
        raise Refusal("this endpoint reads data URLs only", param="messages", code="image_url_not_data")
    if not comma or not head.lower().endswith(";base64"):
        raise Refusal("a data URL must hold base64", param="messages", code="image_unreadable")
    mark = number(written)
    encoded = written if mark is None else pieces[mark]
    heads = (*(length for length in _HEADS if length < len(encoded)), len(encoded))
    size = next((size for length in heads if (size := _size(encoded[:length]))), None)
    if size is None:
        raise unreadable()
    return Picture(size, encoded)


def unreadable() -> Refusal:
    """The refusal of a picture that cannot be decoded; sending it again does not help."""
    return Refusal("an image is not a readable JPEG, PNG or WEBP", param="messages", code="image_unreadable")


def _decoded(encoded: Encoded) -> bytes:
    try:
        return base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        raise unreadable() from None


def _size(encoded: Encoded) -> Size | None:
    try:
        with Image.open(io.BytesIO(_decoded(encoded)), formats=FORMATS) as image:
            return Size(*image.size)
    except _BROKEN:
        return None
