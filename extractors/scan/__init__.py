"""scan: a source in, the documents that its images make out, as a stream in a stable order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.buckets import BUCKETS, is_bucket_url, parse_location
from extractors.core.errors import ConfigurationError, format_value
from extractors.scan.folder import EXTENSIONS, FolderStore, check_pdf, scan_file, scan_folder
from extractors.scan.group import GroupBy, group_images
from extractors.scan.manifest import KINDS, is_manifest, read_manifest
from extractors.scan.stores import MixedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from extractors.core import Document, Found, Store

__all__ = [
    "EXTENSIONS",
    "GroupBy",
    "Source",
    "create_store",
    "is_bucket_url",
    "is_manifest",
    "open_source",
    "scan",
    "scan_documents",
]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that can be read: its documents, from the start whenever they are asked for, and the store of its images.

    `videos`: it names some that could be sent; `close` ends the connections that the store holds.
    """

    documents: Callable[[], Iterator[Document]]
    store: Store
    videos: bool = False
    close: Callable[[], None] = lambda: None


def open_source(source: str, by: GroupBy | None = None, allow_hosts: Collection[str] = ()) -> Source:
    """What a folder, an image, a bucket or a manifest holds; a manifest is read here, once.

    Raises ConfigurationError as `scan` does for what is no manifest (that is listed when its documents are asked for),
    for a manifest that cannot be read, and for `by` where rows say which pages are one document.
    """
    if not is_manifest(source):
        return Source(partial(scan_documents, source, by), create_store(source))
    if by in {"folder", "name"}:
        raise ConfigurationError(
            f"--document-by {by} is for folders and buckets: a manifest groups by its columns document and page"
        )
    manifest = read_manifest(source)
    mixed = MixedStore(allow_hosts, urls=manifest.urls)
    return Source(manifest.documents, mixed, manifest.videos, mixed.close)


def scan_documents(source: str, by: GroupBy | None = None) -> Iterator[Document]:
    """The documents of a source. Raises ConfigurationError at once, as `scan` and `opened` do."""
    return open_source(source, by).documents() if is_manifest(source) else group_images(scan(source), by)


def scan(source: str) -> Iterator[Found]:
    """The images of a folder or a bucket (recursive, sorted by name), or the one image named.

    Raises ConfigurationError at once, before any image is read, for a source that does not exist, may not be listed,
    or holds no kind of image that is known.
    """
    if is_bucket_url(source):
        from extractors.scan.bucket import scan_bucket  # noqa: PLC0415 - 40 ms that a folder need not wait for

        return scan_bucket(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return scan_folder(path)
    if path.is_file():
        check_pdf(source)
        if path.suffix.lower().removeprefix(".") not in EXTENSIONS:
            raise ConfigurationError(
                f"source {source!r} is not an image: use a folder, {', '.join(EXTENSIONS)}, or a manifest:"
                f" {', '.join(KINDS)}"
            )
        return scan_file(path)
    if "://" in source:
        allowed = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise ConfigurationError(
            f"source {format_value(source)} cannot be read: use a folder, an image, a manifest, or {allowed}"
        )
    raise ConfigurationError(f"source {source!r} does not exist: use a folder of images or one image")


def create_store(source: str, allow_hosts: Collection[str] = ()) -> Store:
    """Reads what the documents of this source are made of."""
    if is_manifest(source):
        return MixedStore(allow_hosts)
    if is_bucket_url(source):
        from extractors.scan.bucket import BucketStore  # noqa: PLC0415 - as above

        return BucketStore(parse_location(source))
    return FolderStore()
