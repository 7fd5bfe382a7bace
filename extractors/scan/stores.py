"""One store for what a manifest mixes: files, objects of any bucket, and what is at http(s) URLs."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from extractors.core import Problem
from extractors.core.buckets import place
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.scan.folder import FolderStore
from extractors.scan.manifest.entry import OBJECTS, WEB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extractors.core import Found, Store

READERS = 64  # as a bucket's: a request waits for the network, not for a core


class MixedStore:
    """Reads each image where its uri says that it is; a bucket, and the web, are opened when the first one is there."""

    def __init__(self, allow_hosts: Collection[str] = (), *, urls: bool = True) -> None:
        """`urls`: images may lie elsewhere; without any, reading is no wait."""
        self.readers = READERS if urls else 1
        self._files, self._allow_hosts = FolderStore(), tuple(allow_hosts)
        self._opened: dict[str, Store | ConfigurationError] = {}
        self._lock = threading.Lock()

    def look(self, found: Found) -> Found:
        """The image with its size, version and time; a place that cannot be opened is its flaw."""
        if found.version or found.problem:
            return found
        try:
            return self._store(found).look(found)
        except DocumentError as error:
            return replace(found, problem=Problem(error.kind, "scan", error.message, error.final))

    def open(self, found: Found) -> BinaryIO:
        """A stream of what is there. Raises DocumentError as the place's own store does."""
        return self._store(found).open(found)

    def read(self, found: Found) -> bytes:
        """All bytes of what is there. Raises DocumentError as the place's own store does."""
        return self._store(found).read(found)

    def link(self, found: Found) -> str:
        """The URL at which a server finds it. Raises DocumentError for a file."""
        return self._store(found).link(found)

    def close(self) -> None:
        """Ends the connections to the web."""
        with self._lock:
            for store in self._opened.values():
                if close := getattr(store, "close", None):
                    close()
            self._opened.clear()

    def _store(self, found: Found) -> Store:
        """Raises DocumentError for a bucket that cannot be opened."""
        scheme, separator, rest = found.uri.partition("://")
        if separator and scheme in WEB:
            return self._once("", self._web)
        if separator and scheme in OBJECTS:
            root = f"{scheme}://{rest.partition('/')[0]}"
            return self._once(root, lambda: _bucket(root))
        return self._files

    def _once(self, name: str, opened: Callable[[], Store]) -> Store:
        with self._lock:
            if name not in self._opened:
                try:
                    self._opened[name] = opened()
                except ConfigurationError as error:
                    self._opened[name] = error
            store = self._opened[name]
        if isinstance(store, ConfigurationError):
            raise DocumentError(store.message, kind="unreadable", stage="scan", final=False)
        return store

    def _web(self) -> Store:
        from extractors.scan.web.store import WebStore  # noqa: PLC0415 - its libraries are for those who need them

        return WebStore(self._allow_hosts)


def _bucket(root: str) -> Store:
    from extractors.scan.bucket import BucketStore  # noqa: PLC0415 - 40 ms that a file need not wait for

    return BucketStore(place(root))
