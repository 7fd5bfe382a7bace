"""scan: a source in, the images that it holds out, as a stream in a stable order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extractors.errors import ConfigurationError
from extractors.scan.folder import EXTENSIONS, FolderStore, scan_file, scan_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.model import Found, Store

__all__ = ["EXTENSIONS", "scan", "store"]


def scan(source: str) -> Iterator[Found]:
    """The images of a folder (recursive, sorted by path), or the one image named.

    Raises ConfigurationError at once, before anything is read, for a source that does not exist or holds no kind of
    image that is known.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return scan_folder(path)
    if path.is_file():
        if path.suffix.lower().removeprefix(".") not in EXTENSIONS:
            raise ConfigurationError(f"source {source!r} is not an image: use a folder or {', '.join(EXTENSIONS)}")
        return scan_file(path)
    if "://" in source:
        raise ConfigurationError(f"source {source!r} cannot be read: use a folder or an image on this machine")
    raise ConfigurationError(f"source {source!r} does not exist: use a folder of images or one image")


def store(source: str) -> Store:
    """Reads what `scan(source)` finds."""
    del source  # every source is on disk
    return FolderStore()
