"""Prepares a planned page: makes the image block of its request once, for all attempts.

The original's bytes are sent where they show the same everywhere; otherwise the picture is decoded by `images/`, resized
and encoded without its metadata. A PDF's page is drawn at the size that is sent.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING

import orjson
import pybase64
from pydantic import SecretStr

from extractors.core import Prepared
from extractors.core.errors import DocumentError
from extractors.images.ending import check_end, has_end
from extractors.images.grey import find_grey
from extractors.images.jpeg import find_frame
from extractors.images.open import has_odd_metadata, open_picture, translate_errors
from extractors.images.pdf import open_pdf
from extractors.images.pixels import load_pixels
from extractors.images.quality import measure_quality

if TYPE_CHECKING:
    from PIL import Image

    from extractors.core import Found, Header, LadderStep, PlannedPage, Quality, Store
    from extractors.core.tiles import Size

MAX_SENT_BYTES = 10 * 10**6  # Together documents this for fine-tuning images; no limit is documented for requests
_QUALITIES = (90, 75, 50)  # JPEG, tried in turn until the picture is within MAX_SENT_BYTES
_SUBSAMPLING = 2  # 4:2:0: no field is read worse, and encoding takes a fifth less time (docs/benchmarks.md)
_ORIGINAL = frozenset({"JPEG", "PNG", "WEBP"})  # formats that every server reads
_SENT_COMPONENTS = frozenset({1, 3})  # of a JPEG: grey, or colours; four are inks
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "TIFF"})


def prepare(store: Store, page: PlannedPage, step: LadderStep, *, measure: bool = False) -> Prepared:
    """Make the page's image block at this step of its ladder. Reads, decodes and encodes: call it in a thread.

    `measure`: the quality of the picture is measured where it is decoded anyway.

    Raises DocumentError: the error of the store, or `unreadable` for pixels that cannot be decoded.
    """
    header = page.billed.header
    assert header is not None, "a page without a header is rejected by its plan"
    data = store.read(page.billed.found)
    sha256 = hashlib.sha256(data).hexdigest()
    if header.format == "PDF":
        block, quality = _draw_page(data, page.billed.found, step.size, measure=measure)
        return Prepared(block, step.size, encoded=True, sha256=sha256, quality=quality)
    check_end(data, header.format, "prepare")
    if step.size == header.size and _can_send_original(data, header):
        return Prepared(_build_block(header.format, data), step.size, encoded=False, sha256=sha256)
    pixels = load_pixels(data, "prepare", page.billed.found.page, header.orientation, step.size)
    quality = measure_quality(pixels) if measure else None
    with translate_errors("unreadable", "prepare"):
        kind, encoded = _encode(pixels, lossless=header.format in _LOSSLESS and step.size == header.size)
    return Prepared(_build_block(kind, encoded), step.size, encoded=True, sha256=sha256, quality=quality)


def prepare_link(page: PlannedPage, link: str) -> Prepared:
    """Make the block of an image or a video that the server fetches by its URL."""
    kind = b"video_url" if page.billed.found.video else b"image_url"
    block = b'{"type":"%s","%s":{"url":%s}}' % (kind, kind, orjson.dumps(link))
    return Prepared(block, page.ladder[0].size, encoded=False, sha256="", link=SecretStr(link))


def _can_send_original(data: bytes, header: Header) -> bool:
    """Tell whether the original bytes show the same everywhere: one upright frame of square pixels, 8-bit RGB or grey.

    Raises DocumentError `unreadable` for a file that is cut short.
    """
    if header.format not in _ORIGINAL or header.orientation != 1 or header.frames != 1 or len(data) > MAX_SENT_BYTES:
        return False
    if (frame := find_frame(data)) is not None and has_end(data, "JPEG"):  # Pillow would find the same in more time
        return frame.components in _SENT_COMPONENTS and frame.size == header.size
    picture = open_picture(BytesIO(data), "prepare")
    if picture.mode not in {"RGB", "L"} or picture.size != tuple(header.size) or "transparency" in picture.info:
        return False
    if header.format == "PNG" and (data[24:25] != b"\x08" or has_odd_metadata(data)):  # 16-bit RGB opens as RGB
        return False
    if not has_end(data, header.format):
        with translate_errors("unreadable", "prepare"):
            picture.load()  # a file without its end marker may still be whole: the decoder finds out
    return True


def _draw_page(data: bytes, found: Found, size: Size, *, measure: bool) -> tuple[bytes, Quality | None]:
    """Draw a PDF's page at the size that is sent, make its block, and measure the picture.

    Of a grey page whichever is smaller, PNG or JPEG: at 1,119 px a page of 10 pt text is 141 KB as a grey PNG and 380 KB
    as a JPEG, a scan 107 and 94 KB. A coloured page is no smaller as a PNG.
    """
    with open_pdf(data, "prepare", found.passwords) as pdf:
        pixels = pdf.render(found.page or 1, size)
    return _encode_drawn(pixels), measure_quality(pixels) if measure else None


def _encode_drawn(pixels: Image.Image) -> bytes:
    if (grey := find_grey(pixels)) is None:
        return _build_block(*_encode(pixels, lossless=False))
    png = _encode_as(grey, "PNG", compress_level=3)
    kind, encoded = _encode(grey, lossless=False)
    return _build_block("PNG", png) if len(png) < len(encoded) else _build_block(kind, encoded)


def _encode(pixels: Image.Image, *, lossless: bool) -> tuple[str, bytes]:
    """Encode as PNG where the original was lossless and it fits, else as the best JPEG that fits."""
    if lossless:
        encoded = _encode_as(pixels, "PNG", compress_level=3)
        if len(encoded) <= MAX_SENT_BYTES:
            return "PNG", encoded
    for quality in _QUALITIES:
        encoded = _encode_as(pixels, "JPEG", quality=quality, subsampling=_SUBSAMPLING)
        if len(encoded) <= MAX_SENT_BYTES:
            return "JPEG", encoded
    message = f"over the limit of {MAX_SENT_BYTES:,} bytes, even as a JPEG of quality {_QUALITIES[-1]}"
    raise DocumentError(message, kind="too_many_bytes", stage="prepare")


def _encode_as(pixels: Image.Image, kind: str, **options: int) -> bytes:
    buffer = BytesIO()
    pixels.info = {}  # profiles and comments would be written out again
    pixels.save(buffer, kind, **options)
    return buffer.getvalue()


def _build_block(kind: str, data: bytes) -> bytes:
    media = {"JPEG": b"image/jpeg", "PNG": b"image/png", "WEBP": b"image/webp"}[kind]
    start = b'{"type":"image_url","image_url":{"url":"data:%s;base64,' % media
    return b"".join((start, pybase64.b64encode(data), b'"}}'))
