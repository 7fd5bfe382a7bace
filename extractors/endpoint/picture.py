"""A picture as it travels: a base64 data URL. Its size comes from its header; its pixels only when somebody reads them."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass

from PIL import Image

from extractors.endpoint.refusal import Refusal
from extractors.tiles import Size

FORMATS = ("JPEG", "PNG", "WEBP")
_HEAD = 64 * 1024  # base64 characters, a multiple of 4: nearly every header ends well before
# What Pillow raises on bytes that are no picture, or only half of one.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a request: its size, and its bytes still in base64."""

    size: Size
    encoded: str

    def pixels(self) -> Image.Image:
        """The picture in RGB, decoded. Refuses one that is cut short or damaged behind its header."""
        try:
            with Image.open(io.BytesIO(_decoded(self.encoded)), formats=FORMATS) as image:
                return image.convert("RGB")
        except _BROKEN:
            raise unreadable() from None


def picture(url: str) -> Picture:
    """The picture of a data URL, opened as far as its header."""
    head, comma, encoded = url.partition(",")
    if not head[:5].lower() == "data:":
        raise Refusal("this endpoint reads data URLs only", param="messages", code="image_url_not_data")
    if not comma or not head.lower().endswith(";base64"):
        raise Refusal("a data URL must hold base64", param="messages", code="image_unreadable")
    size = _size(encoded[:_HEAD]) or (_size(encoded) if len(encoded) > _HEAD else None)
    if size is None:
        raise unreadable()
    return Picture(size, encoded)


def unreadable() -> Refusal:
    """The refusal of a picture that cannot be decoded; sending it again does not help."""
    return Refusal("an image is not a readable JPEG, PNG or WEBP", param="messages", code="image_unreadable")


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        raise unreadable() from None


def _size(encoded: str) -> Size | None:
    try:
        with Image.open(io.BytesIO(_decoded(encoded)), formats=FORMATS) as image:
            return Size(*image.size)
    except _BROKEN:
        return None
