"""Images in a bucket: the listing as a stream, and headers and bytes of what was found there, through obstore."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from extractors.errors import ConfigurationError, DocumentError, shown
from extractors.model import Flaw, Found
from extractors.picture import MAX_BYTES
from extractors.scan.aws import profile
from extractors.scan.folder import SUFFIXES
from extractors.scan.ranged import BLOCK, Ranged
from extractors.scan.trouble import cause, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore, RetryConfig, S3Config

SIGNED = timedelta(hours=1)  # for so long a server may fetch what is passed on to it
PAGE = 1000  # what a listing gives at once, as the servers do
ERRORS = (BaseError, OSError, ValueError)  # whatever obstore raises
# Whether a bucket can be read at all is said within seconds. Later on SlowDown is waited out, but no longer than a run
# that is told to stop can wait for its readers.
QUICK: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}
PATIENT: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}
_KINDS = {
    FileNotFoundError: "missing",
    PermissionDeniedError: "forbidden",
    UnauthenticatedError: "forbidden",
    PreconditionError: "changed",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which bucket; `prefix` is a key, or the folder that keys are in, without a slash at either end."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def root(self) -> str:
        """What stands before a key in a uri."""
        return f"{self.scheme}://{self.bucket}/"

    @property
    def url(self) -> str:
        """The place as a person writes it."""
        return (self.root + self.prefix).rstrip("/")


def place(source: str) -> Place:
    """The place that a URL names. Raises ConfigurationError for one without a bucket, or with more than a place in it."""
    scheme, _, rest = source.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or re.search(r"[?#]", source):
        raise ConfigurationError(
            f"source {shown(source)} holds more than a place: leave out user, query and fragment; credentials come"
            " from the environment"
        )
    if not bucket:
        raise ConfigurationError(f"source {source!r} names no bucket: write {scheme}://bucket/prefix")
    return Place(scheme.lower(), bucket, prefix.strip("/"))


def opened(where: Place, retry: RetryConfig = PATIENT) -> ObjectStore:
    """The bucket, with credentials from environment, profile or instance role; nothing is sent yet.

    Raises ConfigurationError for what is missing or wrong in the environment.
    """
    with _begun(where):
        if where.scheme == "s3":
            return S3Store(where.bucket, config=cast("S3Config", profile()), retry_config=retry)
        if where.scheme == "gs":
            return GCSStore(where.bucket, retry_config=retry)
        return AzureStore(where.bucket, retry_config=retry)


def scan_bucket(source: str) -> Iterator[Found]:
    """Every image below the prefix in the order of the keys, or the one image named.

    Raises ConfigurationError at once when the bucket cannot be listed; what goes wrong later is found with a flaw.
    """
    where = place(source)
    quick = opened(where, QUICK)
    with _begun(where):
        if where.prefix.lower().endswith(SUFFIXES):
            try:
                return iter([_found(where, quick.head(where.prefix))])
            except FileNotFoundError:
                pass  # a folder may be named like an image
        next(obstore.list(quick, where.prefix or None, chunk_size=PAGE), None)
    return _listed(where, obstore.list(opened(where), where.prefix or None, chunk_size=PAGE))


def _listed(where: Place, pages: Iterable[Sequence[ObjectMeta]]) -> Iterator[Found]:
    try:
        for page in pages:
            for meta in page:
                if meta["path"].lower().endswith(SUFFIXES):
                    yield _found(where, meta)
    except ERRORS as error:
        message = f"the listing of {where.url} broke off: {cause(error)}"
        yield Found(where.url, flaw=Flaw("unreadable", "scan", message, final=False))


def _found(where: Place, meta: ObjectMeta) -> Found:
    return Found(where.root + meta["path"], meta["size"], _version(meta), meta["last_modified"])


def _version(meta: ObjectMeta) -> str:
    """The etag in its quotes, which Azure leaves out in listings; size and time where a server has none."""
    etag = meta["e_tag"]
    if etag is None:
        return f"{meta['size']}-{meta['last_modified'].isoformat()}"
    return etag if etag.endswith('"') else f'"{etag}"'


class BucketStore:
    """Reads objects by uri, each only as the version that was found."""

    readers = 64  # a request waits for the network, not for a core

    def __init__(self, where: Place) -> None:
        """Raises ConfigurationError as `opened` does."""
        self._root, self._store = where.root, opened(where)

    def look(self, found: Found) -> Found:
        """The object's size, version and time, where only its name is known."""
        if found.version or found.flaw:
            return found
        try:
            meta = self._store.head(found.uri.removeprefix(self._root))
        except ERRORS as error:
            raised = _translated(error, found.uri)
            return replace(found, flaw=Flaw(raised.kind, "scan", raised.message, raised.final))
        return replace(found, size=meta["size"], version=_version(meta), modified=meta["last_modified"])

    def link(self, found: Found) -> str:
        """The object's URL, signed for an hour."""
        try:
            return obstore.sign(cast("S3Store", self._store), "GET", found.uri.removeprefix(self._root), SIGNED)
        except ERRORS as error:
            raise _translated(error, found.uri) from error

    def open(self, found: Found) -> BinaryIO:
        """The object from its start, of which the first 64 KiB are fetched and more when it is read."""
        head, size = self._get(found, (0, BLOCK))
        return cast("BinaryIO", Ranged(head, size, lambda start, end: self._get(found, (start, end))[0]))

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
            raise _translated(error, found.uri) from error
        if found.version not in {None, _version(meta)}:  # a server may not know the condition
            raise _changed(found.uri)
        return data, meta["size"]


def _translated(error: Exception, uri: str) -> DocumentError:
    kind = _KINDS.get(type(error), "unreadable")
    if kind == "changed":
        return _changed(uri)
    return DocumentError(f"{uri} cannot be read: {cause(error)}", kind=kind, stage="scan", final=False)


def _changed(uri: str) -> DocumentError:
    message = f"{uri} was written to since it was found; the next run takes it as it is then"
    return DocumentError(message, kind="changed", stage="scan", final=False)


@contextmanager
def _begun(where: Place) -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        raise ConfigurationError(f"source {where.url!r} {refusal(error, where.scheme)}") from error
