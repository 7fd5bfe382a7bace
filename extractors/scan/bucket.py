"""Images in a bucket: the listing as a stream, and headers and bytes of objects, through obstore."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore.exceptions import PermissionDeniedError, PreconditionError, UnauthenticatedError

from extractors.core import Found, Problem
from extractors.core.buckets import parse_location
from extractors.core.buckets.client import ERRORS, QUICK_RETRY, open_bucket, translate_errors
from extractors.core.buckets.errors import describe_error
from extractors.core.buckets.listing import list_objects
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.images.limits import MAX_BYTES
from extractors.scan.formats import MISSING, SUFFIXES, check_extra, suffix_of
from extractors.scan.listing import Listing
from extractors.scan.ranged import BLOCK, RangeReader
from extractors.scan.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import GetOptions, ObjectMeta
    from obstore.store import S3Store

    from extractors.core import Header
    from extractors.core.buckets import BucketLocation
    from extractors.core.documents import ParseHeader

LINK_LIFETIME = timedelta(hours=1)  # how long a server may fetch a signed link
PAGE_SIZE = 1000  # objects in a page of a listing, as servers have it
_ODD_KEY = re.compile(r"empty path segment|illegal character sequence|parse path|invalid path", re.IGNORECASE)
_KINDS = {
    FileNotFoundError: "missing",
    PermissionDeniedError: "forbidden",
    UnauthenticatedError: "forbidden",
    PreconditionError: "changed",
}


def scan_bucket(source: str, selection: Selection | None = None, listing: Listing | None = None) -> Iterator[Found]:
    """Yield every selected image below the prefix in the order of the keys, or the one image named.

    `listing` notes what is passed over or cannot be listed. Raises ConfigurationError at once when the bucket cannot be
    listed at all.
    """
    location = parse_location(source)
    quick = open_bucket(location, QUICK_RETRY)
    with translate_errors(location):
        if suffix_of(location.prefix) in {*SUFFIXES, *MISSING}:
            try:
                meta = quick.head(location.prefix)
            except FileNotFoundError:
                pass  # a folder may be named like an image
            else:
                check_extra(location.url)
                return iter([_make_found(location, meta)])
        try:
            next(obstore.list(quick, location.prefix or None, chunk_size=PAGE_SIZE), None)
        except ERRORS as error:
            if not _is_odd_key(error, location):
                raise
    return _Walk(location, selection or Selection(), listing or Listing()).images()


def read_object(source: str) -> bytes:
    """Return all bytes of one object. Raises ConfigurationError when it is missing or may not be read."""
    location = parse_location(source)
    quick = open_bucket(location, QUICK_RETRY)
    with translate_errors(location):
        try:
            return bytes(quick.get(location.prefix).bytes())
        except FileNotFoundError:
            raise ConfigurationError(f"source {location.url!r} does not exist: name an existing object") from None


@dataclass(slots=True)
class _Walk:
    """One walk of a bucket. `last` is the last key listed; `passed` the last folder passed over."""

    location: BucketLocation
    selection: Selection
    listing: Listing
    last: str = ""
    passed: str = ""

    def images(self) -> Iterator[Found]:
        """Yield the selected images; a listing that breaks off ends with a Found that has the problem."""
        try:
            try:
                yield from self._list_by_obstore()
            except ERRORS as error:
                if not _is_odd_key(error, self.location):
                    raise
                yield from self._list_by_api()
        except ERRORS as error:
            message = f"the listing of {self.location.url} broke off: {describe_error(error)}"
            self.listing.unread.append(message)
            yield Found(self.location.url, problem=Problem("unreadable", "scan", message, final=False))

    def _list_by_obstore(self) -> Iterator[Found]:
        for page in obstore.list(open_bucket(self.location), self.location.prefix or None, chunk_size=PAGE_SIZE):
            for meta in page:
                self.last = meta["path"]
                if self._select(meta["path"]):
                    yield _make_found(self.location, meta)

    def _list_by_api(self) -> Iterator[Found]:
        """Continue after the last key by the server's own API: one odd key costs only itself."""
        for each in list_objects(self.location, self.last):
            if not self._select(each.key):
                continue
            uri = self.location.root + each.key
            if each.is_addressable:
                time = each.modified
                version = each.etag or f"{each.size}-{time.isoformat() if time else ''}"
                yield Found(uri, each.size, version, time)
            else:
                yield Found(uri, each.size, each.etag, each.modified, _build_key_problem(uri))

    def _select(self, key: str) -> bool:
        """Return whether to read the object; count it, or its folder once, where not."""
        path = key.removeprefix(f"{self.location.prefix}/") if self.location.prefix else key
        kind, counted = self.selection.judge_key(path)
        if kind and (counted == path or counted != self.passed):
            self.listing.pass_over(kind)
        if kind and counted != path:
            self.passed = counted
        return kind is None


def _is_odd_key(error: Exception, location: BucketLocation) -> bool:
    """Return whether obstore refused a key, and the server has an API that lists it all the same."""
    return location.scheme == "s3" and bool(_ODD_KEY.search(str(error)))


def _make_found(location: BucketLocation, meta: ObjectMeta) -> Found:
    return Found(location.root + meta["path"], meta["size"], _version_of(meta), meta["last_modified"])


def _build_key_problem(uri: str) -> Problem:
    message = f"{uri!r} cannot be read: its key has an empty or relative part or a control character: rename it"
    return Problem("unreadable", "scan", message, final=False)


def _version_of(meta: ObjectMeta) -> str:
    """Return the etag in its quotes, which Azure omits in listings; size and time where a server has none."""
    etag = meta["e_tag"]
    if etag is None:
        return f"{meta['size']}-{meta['last_modified'].isoformat()}"
    return etag if etag.endswith('"') else f'"{etag}"'


class BucketStore:
    """Reads objects by uri, each only in the version that was found."""

    readers = 64  # a request waits for the network, not for a core

    def __init__(self, location: BucketLocation) -> None:
        """Raises ConfigurationError as `open_bucket` does."""
        self._root, self._store = location.root, open_bucket(location)

    def stat(self, found: Found) -> Found:
        """The object's size, version and time, where only its name is known."""
        if found.version or found.problem:
            return found
        try:
            meta = self._store.head(found.uri.removeprefix(self._root))
        except ERRORS as error:
            raised = _translate(error, found.uri)
            return replace(found, problem=Problem(raised.kind, "scan", raised.message, raised.final))
        return replace(found, size=meta["size"], version=_version_of(meta), modified=meta["last_modified"])

    def link(self, found: Found) -> str:
        """The object's URL, signed for an hour."""
        try:
            return obstore.sign(cast("S3Store", self._store), "GET", found.uri.removeprefix(self._root), LINK_LIFETIME)
        except ERRORS as error:
            raise _translate(error, found.uri) from error

    def open(self, found: Found) -> BinaryIO:
        """The object from its start, of which the first 64 KiB are fetched and more when it is read."""
        head, size = self._get(found, (0, BLOCK))
        return cast("BinaryIO", RangeReader(head, size, lambda start, end: self._get(found, (start, end))[0]))

    def read_header(self, found: Found, parse: ParseHeader) -> Header | None:
        """Return None: the stream of `open` is read."""
        del found, parse
        return None

    def read(self, found: Found) -> bytes:
        """All bytes of the object, in one request."""
        return self._get(found)[0]

    def _get(self, found: Found, part: tuple[int, int] | None = None) -> tuple[bytes, int]:
        """The bytes, or a part of them, and the size of the whole. Raises DocumentError as a Store does."""
        if (found.size or 0) > MAX_BYTES:
            message = f"{found.size:,} bytes are over the limit of {MAX_BYTES:,}"
            raise DocumentError(message, kind="too_many_bytes", stage="scan")
        try:
            result = self._store.get(found.uri.removeprefix(self._root), options=_make_options(found, part))
            data, meta = bytes(result.bytes()), result.meta
        except ERRORS as error:
            raise _translate(error, found.uri) from error
        if found.version not in {None, _version_of(meta)}:  # a server may not know the condition
            raise _changed_error(found.uri)
        return data, meta["size"]


def _make_options(found: Found, part: tuple[int, int] | None) -> GetOptions:
    options: GetOptions = {}
    if part:
        options["range"] = part
    if found.version and found.version.startswith('"'):  # a weak etag matches nothing, itself neither
        options["if_match"] = found.version
    return options


def _translate(error: Exception, uri: str) -> DocumentError:
    kind = _KINDS.get(type(error), "unreadable")
    if kind == "changed":
        return _changed_error(uri)
    return DocumentError(f"{uri} cannot be read: {describe_error(error)}", kind=kind, stage="scan", final=False)


def _changed_error(uri: str) -> DocumentError:
    message = f"{uri} changed since it was listed; the next run reads the new version"
    return DocumentError(message, kind="changed", stage="scan", final=False)
