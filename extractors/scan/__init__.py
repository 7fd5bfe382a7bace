"""scan: list the documents of a source as a stream in a stable order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.buckets import BUCKETS, is_bucket_url, parse_location
from extractors.core.errors import ConfigurationError, format_value
from extractors.scan.folder import FolderStore, may_hold_images, scan_file, scan_folder
from extractors.scan.formats import EXTENSIONS, check_extra
from extractors.scan.group import GroupBy, group_images
from extractors.scan.listing import Listing
from extractors.scan.manifest import KINDS, is_manifest, read_manifest
from extractors.scan.selection import Selection
from extractors.scan.stores import MixedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from extractors.core import Document, Found, Store

__all__ = [
    "EXTENSIONS",
    "GroupBy",
    "Listing",
    "Selection",
    "Source",
    "check_source",
    "create_store",
    "is_bucket_url",
    "is_manifest",
    "no_images",
    "open_source",
    "scan",
    "scan_documents",
]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that can be read. `documents` walks it from the start, and notes in a Listing what it passes over.

    `videos`: it names some that could be sent; `close` ends the connections of the store.
    """

    documents: Callable[[Listing], Iterator[Document]]
    store: Store
    videos: bool = False
    close: Callable[[], None] = lambda: None


def open_source(
    source: str, by: GroupBy | None = None, allow_hosts: Collection[str] = (), selection: Selection | None = None
) -> Source:
    """Open a folder, an image, a bucket or a manifest; a manifest is read here, once.

    Raises ConfigurationError for a manifest that cannot be read, and for `by` or a selection that manifests do not have.
    Other sources are listed, and refused as by `scan`, when their documents are requested.
    """
    if not is_manifest(source):
        return Source(lambda listing: scan_documents(source, by, selection, listing), create_store(source))
    if by in {"folder", "name"}:
        raise ConfigurationError(
            f"--document-by {by} is for folders and buckets: a manifest groups by its columns document and page"
        )
    if selection and (selection.include or selection.exclude):
        raise ConfigurationError("--include and --exclude are for folders and buckets: a manifest names its images")
    manifest = read_manifest(source)
    mixed = MixedStore(allow_hosts, urls=manifest.urls)
    return Source(lambda _: manifest.documents(), mixed, manifest.videos, mixed.close)


def scan_documents(
    source: str, by: GroupBy | None = None, selection: Selection | None = None, listing: Listing | None = None
) -> Iterator[Document]:
    """List the documents of a source. Raises ConfigurationError at once, as `scan` and `open_source` do."""
    if is_manifest(source):
        return open_source(source, by, selection=selection).documents(Listing())
    return group_images(scan(source, selection, listing), by)


def check_source(source: str, by: GroupBy | None = None, selection: Selection | None = None) -> None:
    """Raises ConfigurationError for a source that is not there, and for a local folder without images.

    It reads no image and asks no bucket.
    """
    if is_bucket_url(source) or is_manifest(source):
        return
    documents, path = scan_documents(source, by, selection, listing := Listing()), Path(source).expanduser()
    if path.is_dir() and not may_hold_images(str(path)) and next(documents, None) is None:
        raise no_images(source, listing)


def no_images(source: str, listing: Listing) -> ConfigurationError:
    """The error for a source in which this listing found no image."""
    passed = f"; passed over: {listing.summary}" if listing.passed_over else ""
    words = f"source {source!r} holds no images: looked for {', '.join(EXTENSIONS)}{passed}"
    return ConfigurationError("; ".join([words, *listing.warnings]))


def scan(source: str, selection: Selection | None = None, listing: Listing | None = None) -> Iterator[Found]:
    """List the selected images of a folder or a bucket (recursive, sorted by name), or the one image named.

    Raises ConfigurationError at once, before any image is read, for a source that does not exist, may not be listed,
    or is a file that is not an image.
    """
    if is_bucket_url(source):
        from extractors.scan.bucket import scan_bucket  # noqa: PLC0415 - 40 ms that a folder does not need

        return scan_bucket(source, selection, listing)
    path = Path(source).expanduser()
    if path.is_dir():
        return scan_folder(path, selection, listing)
    if path.is_file():
        check_extra(source)
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
    """Return the store that reads the images of this source."""
    if is_manifest(source):
        return MixedStore(allow_hosts)
    if is_bucket_url(source):
        from extractors.scan.bucket import BucketStore  # noqa: PLC0415 - as above

        return BucketStore(parse_location(source))
    return FolderStore()
