"""Opens a picture with Pillow, lazily and safely; translates Pillow's errors to `DocumentError`.

`open_picture` decodes no pixel: a header that claims 60,000 x 60,000 is rejected before memory is allocated.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from PIL import (
    AvifImagePlugin,  # noqa: F401 - registers its format
    Image,
    ImageFile,
    Jpeg2KImagePlugin,  # noqa: F401
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from extractors.core.errors import DocumentError, first_line
from extractors.images.limits import MAX_PIXELS
from extractors.images.support import CAN_READ_AVIF, CAN_READ_JPEG2000, INSTALL_HEIF

if TYPE_CHECKING:
    from collections.abc import Iterator

# The formats that are read; no other of Pillow's plugins may open a file, because some start programs.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"),
    *(["AVIF"] if CAN_READ_AVIF else []),
    *(["JPEG2000"] if CAN_READ_JPEG2000 else []),
)
Image.preinit()  # registers the common formats; the imports above register the rest

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = (b"avif", b"avis")
_DECODER_ERROR = "decoder error"  # Pillow's words for all that its C decoders cannot read
_USUAL_TEXT = 2**20  # bytes; Pillow rejects a PNG with a longer packed text or profile
MAX_PROFILE = 4 * 2**20  # bytes of a PNG's colour profile; the largest printers' profiles have 3 MB

# Pillow's own limit warns at half of ours and cannot be set for one call; `open_picture` checks every header itself.
Image.MAX_IMAGE_PIXELS = None

# Pillow's plugins raise these for broken data: OSError, SyntaxError, ValueError, IndexError from parsers, struct.error
# from headers cut short, EOFError from frames, MemoryError from sizes that a broken tag claims.
BROKEN = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    EOFError,
    MemoryError,
)


@contextmanager
def translate_errors(kind: str, stage: str) -> Iterator[None]:
    """Translate what Pillow raises for broken data to a DocumentError of this kind."""
    try:
        yield
    except (DocumentError, RecursionError, NotImplementedError):  # the last two are bugs, although RuntimeErrors
        raise
    except UnidentifiedImageError as error:
        raise DocumentError("not an image that can be read here", kind="not_an_image", stage=stage) from error
    except BROKEN as error:
        words = first_line(error)
        words = "its pixels are broken or cut short" if words.startswith(_DECODER_ERROR) else words
        raise DocumentError(f"cannot be decoded: {words}", kind=kind, stage=stage) from error


def open_picture(source: BinaryIO, stage: str, page: int | None = None) -> Image.Image:
    """Open the picture: its header is read, no pixel is decoded. `page` is a frame's number, from 1.

    Raises DocumentError, also for too many pixels.
    """
    with translate_errors("unreadable", stage):
        picture = Image.open(source, formats=_choose_formats(source, stage))
        if page is not None:
            picture.seek(page - 1)
    if picture.width * picture.height > MAX_PIXELS:
        raise refuse_pixels(picture.width, picture.height, stage)
    return picture


def refuse_pixels(width: int, height: int, stage: str) -> DocumentError:
    """Make the error of a picture that is too large to be decoded."""
    message = f"{width}x{height} px is over the limit of {MAX_PIXELS:,} pixels"
    return DocumentError(message, kind="too_many_pixels", stage=stage)


def has_odd_metadata(data: bytes) -> bool:
    """Tell whether other decoders may reject a PNG: for a long text or profile, or for a wrong checksum of any part."""
    position = 8
    while position + 12 <= len(data):
        length, name = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        if int.from_bytes(checksum) != zlib.crc32(body, zlib.crc32(name)):
            return True
        if name in {b"tEXt", b"zTXt", b"iTXt", b"iCCP"} and _measure_unpacked(name, body) > _USUAL_TEXT:
            return True
        position += 12 + length
    return False


def _measure_unpacked(name: bytes, body: bytes) -> int:
    """Measure a text or a profile, unpacked as far as other decoders allow."""
    key, _, rest = body.partition(b"\0")
    if name == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].split(b"\0", 2)[-1]
    elif name in {b"zTXt", b"iCCP"}:
        packed = rest[1:]
    else:
        return len(body) - len(key)
    with suppress(zlib.error):
        return len(zlib.decompressobj().decompress(packed, _USUAL_TEXT + 1))
    return 0


def _choose_formats(source: BinaryIO, stage: str) -> tuple[str, ...]:
    """Give the formats that may open this file; HEIF's reader is imported only for a HEIF."""
    head = source.read(64)
    source.seek(0)
    if not _is_heif(head):
        return FORMATS
    try:
        import pillow_heif  # noqa: PLC0415 - an extra, and heavy
    except ImportError:
        message = f"a HEIF image, which cannot be read here: {INSTALL_HEIF}"
        raise DocumentError(message, kind="not_an_image", stage=stage, final=False) from None
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _is_heif(head: bytes) -> bool:
    """Tell whether these first bytes are of a HEIF, by the brands of its first box, and not of an AVIF."""
    major, brands = head[8:12], {head[8:12], *(head[place : place + 4] for place in range(16, 64, 4))}
    if head[4:8] != b"ftyp" or major in _AVIF_BRANDS or not brands & _HEIF_BRANDS:
        return False
    return not (brands & set(_AVIF_BRANDS) and major in {b"mif1", b"msf1"})


def _skip_text(stream: PngImagePlugin.PngStream, _position: int, length: int) -> bytes:
    """Read a text chunk and drop it: unpacked it may be of any size, and it has no pixels."""
    assert stream.fp is not None
    return ImageFile._safe_read(stream.fp, length)  # noqa: SLF001 - what Pillow's own handlers call


def _read_profile(stream: PngImagePlugin.PngStream, _position: int, length: int) -> bytes:
    """Read the colour profile of at most MAX_PROFILE bytes; a longer or a broken one is ignored."""
    assert stream.fp is not None
    data = ImageFile._safe_read(stream.fp, length)  # noqa: SLF001
    unpacker = zlib.decompressobj()
    with suppress(zlib.error):
        profile = unpacker.decompress(data[data.find(b"\0") + 2 :], MAX_PROFILE)
        size = int.from_bytes(profile[:4])
        if 128 < size <= len(profile):
            stream.im_info["icc_profile"] = profile[:size]
    return data


def _check_crc(stream: PngImagePlugin.PngStream, cid: bytes, data: bytes) -> None:
    """Check a chunk's checksum, but not of one that a decoder may ignore: those hold no pixels."""
    if cid[0] >> 5 & 1:
        stream.crc_skip(cid, data)
    else:
        _CHECK_CRC(stream, cid, data)


# Pillow rejects a PNG for what stands beside its pixels: long texts, long profiles, wrong checksums of either. There is
# no setting for one call, and a higher limit would let a small file unpack to gigabytes.
_CHECK_CRC = PngImagePlugin.PngStream.crc
for _name in ("chunk_tEXt", "chunk_zTXt", "chunk_iTXt"):
    setattr(PngImagePlugin.PngStream, _name, _skip_text)
setattr(PngImagePlugin.PngStream, "chunk_iCCP", _read_profile)  # noqa: B010 - mypy refuses to assign to a method
setattr(PngImagePlugin.PngStream, "crc", _check_crc)  # noqa: B010
