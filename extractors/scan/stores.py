"""One store for a manifest's mix of files, objects of several buckets, and http(s) URLs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from extractors.core import Problem
from extractors.core.buckets import parse_location
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.scan.folder import FolderStore
from extractors.scan.manifest.entry import OBJECTS, WEB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extractors.core import Found, Header, Store
    from extractors.core.documents import ParseHeader

READERS = 64  # requests wait for the network, not for a core


class MixedStore:
    """Reads each image from the store of its uri; stores are opened on first use."""

    def __init__(self, allow_hosts: Collection[str] = (), *, urls: bool = True) -> None:
        """`urls`: some images are remote, so reading in parallel helps."""
        self.readers = READERS if urls else 1
        self._files, self._allow_hosts = FolderStore(), tuple(allow_hosts)
        self._stores: dict[str, Store | ConfigurationError] = {}
        self._lock = threading.Lock()

    def stat(self, found: Found) -> Found:
        """Return the image with size, version and time, or with the problem."""
        if found.version or found.problem:
            return found
        try:
            return self._store_for(found).stat(found)
        except DocumentError as error:
            return replace(found, problem=Problem(error.kind, "scan", error.message, error.final))

    def open(self, found: Found) -> BinaryIO:
        """Open the image. Raises DocumentError as its own store does."""
        return self._store_for(found).open(found)

    def read_header(self, found: Found, parse: ParseHeader) -> Header | None:
        """Return what `parse` makes of a local file; None for other images."""
        return self._store_for(found).read_header(found, parse)

    def read(self, found: Found) -> bytes:
        """Return all bytes. Raises DocumentError as its own store does."""
        return self._store_for(found).read(found)

    def link(self, found: Found) -> str:
        """Return a URL for the server. Raises DocumentError for a file."""
        return self._store_for(found).link(found)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for store in self._stores.values():
                if close := getattr(store, "close", None):
                    close()
            self._stores.clear()

    def _store_for(self, found: Found) -> Store:
        """Raises DocumentError for a bucket that cannot be opened."""
        scheme, separator, rest = found.uri.partition("://")
        if separator and scheme in WEB:
            return self._open_once("", self._open_web)
        if separator and scheme in OBJECTS:
            root = f"{scheme}://{rest.partition('/')[0]}"
            return self._open_once(root, lambda: _open_bucket(root))
        return self._files

    def _open_once(self, name: str, open_store: Callable[[], Store]) -> Store:
        with self._lock:
            if name not in self._stores:
                try:
                    self._stores[name] = open_store()
                except ConfigurationError as error:
                    self._stores[name] = error
            store = self._stores[name]
        if isinstance(store, ConfigurationError):
            raise DocumentError(store.message, kind="unreadable", stage="scan", final=False)
        return store

    def _open_web(self) -> Store:
        from extractors.scan.web.store import WebStore  # noqa: PLC0415 - its libraries are for those who need them

        return WebStore(self._allow_hosts)


@dataclass(frozen=True, slots=True)
class FetchedStore:
    """A store of one image whose bytes are in memory already."""

    data: bytes = field(repr=False)
    readers: int = 1

    def stat(self, found: Found) -> Found:
        """Returns it as it is."""
        return found

    def link(self, found: Found) -> str:
        """Raises DocumentError: bytes in memory have no URL."""
        raise DocumentError(f"{found.uri} is fetched already", kind="unreadable", stage="prepare")

    def open(self, found: Found) -> BinaryIO:
        """Returns the bytes as a stream."""
        del found
        return BytesIO(self.data)

    def read_header(self, found: Found, parse: ParseHeader) -> Header | None:
        """Returns None: the stream is read."""
        del found, parse
        return None

    def read(self, found: Found) -> bytes:
        """Returns the bytes."""
        del found
        return self.data


def _open_bucket(root: str) -> Store:
    from extractors.scan.bucket import BucketStore  # noqa: PLC0415 - 40 ms of import time that files do not need

    return BucketStore(parse_location(root))
