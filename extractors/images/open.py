"""Opens a picture with Pillow, lazily and safely; Pillow's errors become a `DocumentError` here. A leaf.

No pixel is decoded by `open_picture`: a header that claims 60,000 x 60,000 is refused before memory is asked for.
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

# What a scan looks for, and no other of Pillow's plugins: some start programs, whatever a file is named.
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
def broken_as(kind: str, stage: str) -> Iterator[None]:
    """Turns what Pillow raises over broken data into a DocumentError of this kind."""
    try:
        yield
    except (DocumentError, RecursionError, NotImplementedError):  # the last two are bugs, although RuntimeErrors
        raise
    except UnidentifiedImageError as error:
        raise DocumentError("not an image that can be read here", kind="not_an_image", stage=stage) from error
    except BROKEN as error:
        raise DocumentError(f"cannot be decoded: {first_line(error)}", kind=kind, stage=stage) from error


def open_picture(source: BinaryIO, stage: str, page: int | None = None) -> Image.Image:
    """The picture with its header read and no pixel decoded; `page` is a frame's number, from 1.

    Raises DocumentError, also for too many pixels.
    """
    with broken_as("unreadable", stage):
        picture = Image.open(source, formats=FORMATS)
        if page is not None:
            picture.seek(page - 1)
    if picture.width * picture.height > MAX_PIXELS:
        message = f"{picture.width}x{picture.height} px is over the limit of {MAX_PIXELS:,} pixels"
        raise DocumentError(message, kind="too_many_pixels", stage=stage)
    return picture
