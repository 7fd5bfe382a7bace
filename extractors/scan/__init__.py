"""scan: a source in, the documents that its images make out, as a stream in a stable order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extractors.bucket import BUCKETS, in_bucket, place
from extractors.errors import ConfigurationError, shown
from extractors.scan.folder import EXTENSIONS, FolderStore, check_pdf, scan_file, scan_folder
from extractors.scan.group import By, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.model import Found, Grouped, Store

__all__ = ["EXTENSIONS", "By", "documents", "in_bucket", "scan", "store"]


def documents(source: str, by: By | None = None) -> Iterator[Grouped]:
    """The documents of a source. Raises ConfigurationError as `scan` does."""
    return grouped(scan(source), by)


def scan(source: str) -> Iterator[Found]:
    """The images of a folder or a bucket (recursive, sorted by name), or the one image named.

    Raises ConfigurationError at once, before any image is read, for a source that does not exist, may not be listed,
    or holds no kind of image that is known.
    """
    if in_bucket(source):
        from extractors.scan.bucket import scan_bucket  # noqa: PLC0415 - 40 ms that a folder need not wait for

        return scan_bucket(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return scan_folder(path)
    if path.is_file():
        check_pdf(source)
        if path.suffix.lower().removeprefix(".") not in EXTENSIONS:
            raise ConfigurationError(f"source {source!r} is not an image: use a folder or {', '.join(EXTENSIONS)}")
        return scan_file(path)
    if "://" in source:
        allowed = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise ConfigurationError(f"source {shown(source)} cannot be read: use a folder, an image, or {allowed}")
    raise ConfigurationError(f"source {source!r} does not exist: use a folder of images or one image")


def store(source: str) -> Store:
    """Reads what `scan(source)` finds."""
    if in_bucket(source):
        from extractors.scan.bucket import BucketStore  # noqa: PLC0415 - as above

        return BucketStore(place(source))
    return FolderStore()
