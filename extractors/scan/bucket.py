"""Images in a bucket: the listing as a stream, and headers and bytes of what was found there, through obstore."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore.exceptions import PermissionDeniedError, PreconditionError, UnauthenticatedError

from extractors.core import Found, Problem
from extractors.core.buckets import parse_location
from extractors.core.buckets.client import ERRORS, QUICK_RETRY, open_bucket, translate_errors
from extractors.core.buckets.errors import describe_error
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.images.open import MAX_BYTES
from extractors.scan.folder import SUFFIXES, check_pdf
from extractors.scan.ranged import BLOCK, RangeReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from obstore import GetOptions, ObjectMeta
    from obstore.store import S3Store

    from extractors.core.buckets import BucketLocation

LINK_LIFETIME = timedelta(hours=1)  # for so long a server may fetch what is passed on to it
PAGE_SIZE = 1000  # what a listing gives at once, as the servers do
_KINDS = {
    FileNotFoundError: "missing",
    PermissionDeniedError: "forbidden",
    UnauthenticatedError: "forbidden",
    PreconditionError: "changed",
}


def scan_bucket(source: str) -> Iterator[Found]:
    """Every image below the prefix in the order of the keys, or the one image named.

    Raises ConfigurationError at once when the bucket cannot be listed; what goes wrong later is found with a flaw.
    """
    where = parse_location(source)
    quick = open_bucket(where, QUICK_RETRY)
    with translate_errors(where):
        if where.prefix.lower().endswith((*SUFFIXES, ".pdf")):
            try:
                meta = quick.head(where.prefix)
            except FileNotFoundError:
                pass  # a folder may be named like an image
            else:
                check_pdf(where.url)
                return iter([_make_found(where, meta)])
        next(obstore.list(quick, where.prefix or None, chunk_size=PAGE_SIZE), None)
    return _list_images(where, obstore.list(open_bucket(where), where.prefix or None, chunk_size=PAGE_SIZE))


def read_object(source: str) -> bytes:
    """All bytes of the one object named. Raises ConfigurationError when it is not there or may not be read."""
    where = parse_location(source)
    quick = open_bucket(where, QUICK_RETRY)
    with translate_errors(where):
        try:
            return bytes(quick.get(where.prefix).bytes())
        except FileNotFoundError:
            raise ConfigurationError(f"source {where.url!r} does not exist: name an object that is there") from None


def _list_images(where: BucketLocation, pages: Iterable[Sequence[ObjectMeta]]) -> Iterator[Found]:
    try:
        for page in pages:
            for meta in page:
                if meta["path"].lower().endswith(SUFFIXES):
                    yield _make_found(where, meta)
    except ERRORS as error:
        message = f"the listing of {where.url} broke off: {describe_error(error)}"
        yield Found(where.url, problem=Problem("unreadable", "scan", message, final=False))


def _make_found(where: BucketLocation, meta: ObjectMeta) -> Found:
    return Found(where.root + meta["path"], meta["size"], _version_of(meta), meta["last_modified"])


def _version_of(meta: ObjectMeta) -> str:
    """The etag in its quotes, which Azure leaves out in listings; size and time where a server has none."""
    etag = meta["e_tag"]
    if etag is None:
        return f"{meta['size']}-{meta['last_modified'].isoformat()}"
    return etag if etag.endswith('"') else f'"{etag}"'


class BucketStore:
    """Reads objects by uri, each only as the version that was found."""

    readers = 64  # a request waits for the network, not for a core

    def __init__(self, where: BucketLocation) -> None:
        """Raises ConfigurationError as `opened` does."""
        self._root, self._store = where.root, open_bucket(where)

    def look(self, found: Found) -> Found:
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

    def read(self, found: Found) -> bytes:
        """All bytes of the object, in one request."""
        return self._get(found)[0]

    def _get(self, found: Found, part: tuple[int, int] | None = None) -> tuple[bytes, int]:
        """The bytes, or a part of them, and the size of the whole. Raises DocumentError as a Store does."""
        if (found.size or 0) > MAX_BYTES:
            message = f"{found.size:,} bytes are over the limit of {MAX_BYTES:,}"
            raise DocumentError(message, kind="too_many_bytes", stage="scan")
        options: GetOptions = {}
        if part:
            options["range"] = part
        if found.version and found.version.startswith('"'):  # a weak etag matches nothing, itself neither
            options["if_match"] = found.version
        try:
            result = self._store.get(found.uri.removeprefix(self._root), options=options)
            data, meta = bytes(result.bytes()), result.meta
        except ERRORS as error:
            raise _translate(error, found.uri) from error
        if found.version not in {None, _version_of(meta)}:  # a server may not know the condition
            raise _changed_error(found.uri)
        return data, meta["size"]


def _translate(error: Exception, uri: str) -> DocumentError:
    kind = _KINDS.get(type(error), "unreadable")
    if kind == "changed":
        return _changed_error(uri)
    return DocumentError(f"{uri} cannot be read: {describe_error(error)}", kind=kind, stage="scan", final=False)


def _changed_error(uri: str) -> DocumentError:
    message = f"{uri} changed since it was listed; the next run reads the new version"
    return DocumentError(message, kind="changed", stage="scan", final=False)
