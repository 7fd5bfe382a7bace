"""The extensions of images that are read, which of them need an extra that is not installed, and how to install it."""

from __future__ import annotations

import re

from extractors.core.errors import ConfigurationError
from extractors.images.support import (
    CAN_READ_AVIF,
    CAN_READ_JPEG2000,
    INSTALL_HEIF,
    INSTALL_PDF,
    can_read_heif,
    can_read_pdf,
)

HEIF = ("heic", "heif", "hif")
EXTENSIONS = (
    *("jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp", "jpe", "jfif"),
    *(["avif"] if CAN_READ_AVIF else []),
    *(["jp2", "j2k", "jpf", "jpx", "j2c", "jpc"] if CAN_READ_JPEG2000 else []),
    *(HEIF if can_read_heif() else []),
    *(["pdf"] if can_read_pdf() else []),
)
SUFFIXES = tuple(f".{extension}" for extension in EXTENSIONS)
MISSING = {
    **({} if ".pdf" in SUFFIXES else {".pdf": INSTALL_PDF}),
    **({} if ".heic" in SUFFIXES else {f".{extension}": INSTALL_HEIF for extension in HEIF}),
}
_SUFFIX = re.compile(r"\.[a-z0-9_+-]{1,12}")


def suffix_of(name: str) -> str:
    """Return a file's extension as the kind it is counted by, in lower case."""
    stem, dot, end = name.lower().rpartition(".")
    suffix = dot + end
    return suffix if stem and _SUFFIX.fullmatch(suffix) else "no extension"


def check_extra(source: str) -> None:
    """Raises ConfigurationError for a file whose format needs an extra that is not installed."""
    if install := MISSING.get(suffix_of(source.rpartition("/")[2])):
        raise ConfigurationError(f"source {source!r} needs an extra to be read: {install}")
