"""The pictures of a request: base64 data URLs, extracted before the body is parsed, and decoded only when they are read.

Parsing half a megabyte of text takes longer than all the rest of an echoed answer. `extract_images` leaves small JSON, in
which a mark stands for each piece of base64. A picture's size comes from its header.
"""

from __future__ import annotations

import base64
import binascii
import io
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from extractors.core.tiles import Size
from extractors.endpoint.refusal import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("JPEG", "PNG", "WEBP")
_HEADS = (2048, 64 * 1024)  # base64 characters, multiples of 4: most headers end within the first, nearly all in both
# The errors that Pillow raises for broken and for truncated pictures.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

_OPENS = b'"data:'
_HEAD = 100  # bytes: a data URL's media type is shorter
_SMALL = 4096  # bytes: less is parsed faster than extracted
_MARK = f"#{secrets.token_hex(8)}-"  # random, so that no request contains it

Encoded: TypeAlias = "str | memoryview"  # base64; a view where it was extracted from its request


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a request: its size, and its bytes still in base64."""

    size: Size
    encoded: Encoded

    def pixels(self) -> Image.Image:
        """Decode the picture to RGB. Raises Refusal for one that is truncated or damaged behind its header."""
        try:
            with Image.open(io.BytesIO(_decode_base64(self.encoded)), formats=FORMATS) as image:
                return image.convert("RGB")
        except _BROKEN:
            raise build_unreadable() from None


def parse_picture(url: str, pieces: Sequence[memoryview] = ()) -> Picture:
    """Parse a data URL and read the picture's header. `pieces` were extracted from the request."""
    head, comma, written = url.partition(",")
    if not head[:5].lower() == "data:":
        raise RequestError("this endpoint reads data URLs only", param="messages", code="image_url_not_data")
    if not comma or not head.lower().endswith(";base64"):
        raise RequestError("a data URL must hold base64", param="messages", code="image_unreadable")
    mark = parse_mark(written)
    encoded = written if mark is None else pieces[mark]
    heads = (*(length for length in _HEADS if length < len(encoded)), len(encoded))
    size = next((size for length in heads if (size := _read_size(encoded[:length]))), None)
    if size is None:
        raise build_unreadable()
    return Picture(size, encoded)


def build_unreadable() -> RequestError:
    """The refusal of a picture that cannot be decoded; sending it again does not help."""
    return RequestError("an image is not a readable JPEG, PNG or WEBP", param="messages", code="image_unreadable")


def _decode_base64(encoded: Encoded) -> bytes:
    try:
        return base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        raise build_unreadable() from None


def _read_size(encoded: Encoded) -> Size | None:
    try:
        with Image.open(io.BytesIO(_decode_base64(encoded)), formats=FORMATS) as image:
            return Size(*image.size)
    except _BROKEN:
        return None


def extract_images(body: bytes) -> tuple[bytes, list[memoryview]]:
    """Replace each long piece of base64 in a body by a mark; returns the body and the pieces.

    Replaces every string that begins as a data URL; the caller checks that the marks stand where pictures belong.
    """
    view = memoryview(body)
    kept: list[bytes | memoryview] = []
    pieces: list[memoryview] = []
    done = 0
    start = body.find(_OPENS)
    while start >= 0:
        first = body.find(b",", start, start + _HEAD) + 1
        end = body.find(b'"', start + len(_OPENS))
        if first and end - first > _SMALL and _has_no_escapes(body, start, end):
            kept += (view[done:first], f"{_MARK}{len(pieces)}".encode())
            pieces.append(view[first:end])
            done = end
        start = body.find(_OPENS, max(end, start + 1))
    return b"".join((*kept, view[done:])) if pieces else body, pieces


def parse_mark(encoded: str) -> int | None:
    """The number of the piece that a mark stands for; None if this is not a mark."""
    return int(encoded.removeprefix(_MARK)) if encoded.startswith(_MARK) else None


def _has_no_escapes(body: bytes, start: int, end: int) -> bool:
    """Whether the quote at `start` opens a string, and the string has no escapes."""
    return body[start - 1 : start] != b"\\" and body.find(b"\\", start, end) < 0
