"""prepare: a planned page in, the image block of a request as bytes out, made once and never again on a retry.

The original's bytes are sent where they can be; otherwise the picture is turned by EXIF, flattened on white, brought
to 8-bit RGB or grey, resized, and encoded without its metadata. A PDF's page is drawn at the size that is sent.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from io import BytesIO
from typing import TYPE_CHECKING

import orjson
from PIL import Image, ImageChops
from pydantic import SecretStr

from extractors.core import Prepared
from extractors.core.errors import DocumentError
from extractors.images.open import open_picture, translate_errors
from extractors.images.pdf import open_pdf

if TYPE_CHECKING:
    from extractors.core import Header, PlannedPage, Step, Store
    from extractors.core.tiles import Size

MAX_SENT_BYTES = 10 * 10**6  # Together documents this for fine-tuning images; no limit is documented for requests
_QUALITIES = (90, 75, 50)  # JPEG, tried in turn until the picture is within MAX_SENT_BYTES
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "TIFF"})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def prepare(store: Store, page: PlannedPage, step: Step) -> Prepared:
    """The page's image block at this step of its ladder. Reads, decodes and encodes: meant for a thread.

    Raises DocumentError: whatever the store raises, or `unreadable` for pixels that cannot be decoded.
    """
    header = page.billed.header
    assert header is not None, "a page without a header is rejected by its plan"
    data = store.read(page.billed.found)
    sha256 = hashlib.sha256(data).hexdigest()
    if header.format == "PDF":
        return Prepared(
            _draw_page(data, page.billed.found.page or 1, step.size), step.size, encoded=True, sha256=sha256
        )
    picture = open_picture(BytesIO(data), "prepare", page.billed.found.page)
    if step.size == header.size and _can_send_original(picture, header, data):
        if not _COMPLETE[header.format](data):
            with translate_errors("unreadable", "prepare"):
                picture.load()  # what looks cut short may only be odd: a decoder knows
        return Prepared(_build_block(header.format, data), step.size, encoded=False, sha256=sha256)
    with translate_errors("unreadable", "prepare"):
        pixels = _decode_upright(picture, header, step.size)
        kind, encoded = _encode(pixels, lossless=header.format in _LOSSLESS and step.size == header.size)
    return Prepared(_build_block(kind, encoded), step.size, encoded=True, sha256=sha256)


def prepare_link(page: PlannedPage, link: str) -> Prepared:
    """The block of an image or a video that the server is to fetch by itself."""
    kind = b"video_url" if page.billed.found.video else b"image_url"
    block = b'{"type":"%s","%s":{"url":%s}}' % (kind, kind, orjson.dumps(link))
    return Prepared(block, page.ladder[0].size, encoded=False, sha256="", link=SecretStr(link))


def _can_send_original(picture: Image.Image, header: Header, data: bytes) -> bool:
    """Whether the original's bytes show the same everywhere: one upright frame, 8-bit RGB or grey, opaque, not too big."""
    return (
        header.format in {"JPEG", "PNG", "WEBP"}
        and header.orientation == 1
        and header.frames == 1
        and picture.mode in {"RGB", "L"}
        and "transparency" not in picture.info
        and not (header.format == "PNG" and data[24:25] != b"\x08")  # IHDR's bit depth: 16-bit RGB opens as RGB
        and len(data) <= MAX_SENT_BYTES
    )


def _ends_jpeg(data: bytes) -> bool:
    """Whether an end-of-image marker follows the first scan; in entropy-coded data 0xFF is always stuffed."""
    position = 2
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1 : position + 2]
        if marker == b"\xda":  # start of scan
            return data.rfind(b"\xff\xd9", position) > 0
        position += 1 if marker == b"\xff" else 2 + int.from_bytes(data[position + 2 : position + 4])
    return False


def _ends_png(data: bytes) -> bool:
    return data.rfind(b"IEND") > 0


def _ends_webp(data: bytes) -> bool:
    return len(data) >= int.from_bytes(data[4:8], "little") + 8


_COMPLETE = {"JPEG": _ends_jpeg, "PNG": _ends_png, "WEBP": _ends_webp}


def _decode_upright(picture: Image.Image, header: Header, size: Size) -> Image.Image:
    """The open frame's pixels as a person sees them, in 8-bit RGB or grey, at this upright size."""
    orientation = 1 if picture.format == "TIFF" else header.orientation  # Pillow's TIFF reader turns it itself
    turned = orientation in {5, 6, 7, 8}
    stored = (size.height, size.width) if turned else (size.width, size.height)
    if picture.format in {"JPEG", "MPO"}:
        picture.draft(None, stored)  # libjpeg scales while it decodes; None keeps the mode
    picture.load()
    pixels = _convert_pixels(picture)
    if pixels.size != stored:
        pixels = pixels.resize(stored, Image.Resampling.LANCZOS)
    turn = _TURNS.get(orientation)
    return pixels.transpose(turn) if turn is not None else pixels


def _convert_pixels(picture: Image.Image) -> Image.Image:
    """Opaque on white, in RGB or L."""
    if picture.mode.startswith("I;16"):
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.mode in {"I", "F"}:
        low, high = picture.getextrema()
        assert isinstance(low, int | float)
        assert isinstance(high, int | float)
        span = max(high - low, 1)
        return picture.convert("F").point(lambda value: value * (255 / span) - low * 255 / span).convert("L")
    if picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen.getchannel("A"))
        return white
    if picture.mode in {"L", "1"}:
        return picture.convert("L")
    return picture.convert("RGB")


def _draw_page(data: bytes, number: int, size: Size) -> bytes:
    """The block of a PDF's page, drawn at this size: nothing larger is made smaller, and no letter is drawn twice.

    Of a grey page whichever is smaller, PNG or JPEG: at 1,119 px a page of 10 pt text is 141 KB as a grey PNG and 380 KB
    as a JPEG, a scan 107 and 94 KB. A coloured page is no smaller as a PNG.
    """
    with open_pdf(data, "prepare") as pdf:
        pixels = pdf.render(number, size)
    red, green, blue = pixels.split()
    if ImageChops.difference(red, green).getbbox() or ImageChops.difference(green, blue).getbbox():
        return _build_block(*_encode(pixels, lossless=False))
    png = _encode_as(green, "PNG", compress_level=3)
    kind, encoded = _encode(green, lossless=False)
    return _build_block("PNG", png) if len(png) < len(encoded) else _build_block(kind, encoded)


def _encode(pixels: Image.Image, *, lossless: bool) -> tuple[str, bytes]:
    """The format and the bytes: PNG where no pixel was to be lost and it fits, else the best JPEG that fits."""
    if lossless:
        encoded = _encode_as(pixels, "PNG", compress_level=3)
        if len(encoded) <= MAX_SENT_BYTES:
            return "PNG", encoded
    for quality in _QUALITIES:
        encoded = _encode_as(pixels, "JPEG", quality=quality, subsampling=0)
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
    url = b"data:" + media + b";base64," + b2a_base64(data, newline=False)
    return b'{"type":"image_url","image_url":{"url":"' + url + b'"}}'
