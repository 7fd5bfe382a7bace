"""Opens a picture with Pillow, lazily and safely; translates Pillow's errors to `DocumentError`.

`open_picture` decodes no pixel: a header that claims 60,000 x 60,000 is rejected before memory is allocated.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from PIL import (
    AvifImagePlugin,  # noqa: F401 - registers its format
    Image,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
    features,
)

from extractors.core.errors import DocumentError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PIXELS = 200_000_000  # the largest phone sensors; 600 MB when decoded
MAX_BYTES = 256 * 2**20  # of a file as found; what is sent has a limit of its own

# The formats that are read; no other of Pillow's plugins may open a file, because some start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", *(["AVIF"] if features.check("avif") else []))
Image.preinit()  # registers the common formats; the imports above register the rest

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
        raise DocumentError(f"cannot be decoded: {first_line(error)}", kind=kind, stage=stage) from error


def open_picture(source: BinaryIO, stage: str, page: int | None = None) -> Image.Image:
    """Open the picture: its header is read, no pixel is decoded. `page` is a frame's number, from 1.

    Raises DocumentError, also for too many pixels.
    """
    with translate_errors("unreadable", stage):
        picture = Image.open(source, formats=FORMATS)
        if page is not None:
            picture.seek(page - 1)
    if picture.width * picture.height > MAX_PIXELS:
        message = f"{picture.width}x{picture.height} px is over the limit of {MAX_PIXELS:,} pixels"
        raise DocumentError(message, kind="too_many_pixels", stage=stage)
    return picture
