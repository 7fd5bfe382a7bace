"""A store for images at http(s) URLs: metadata, headers and bytes, each of the version that was found."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

from extractors.core import Problem
from extractors.core.errors import DocumentError
from extractors.core.redact import redact_url
from extractors.scan.ranged import BLOCK, RangeReader
from extractors.scan.web.fetch import Fetcher, FetchLimits, FetchRequest, NetworkEnvironment
from extractors.scan.web.response import FetchResponse, if_match
from extractors.scan.web.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extractors.core import Found, Header
    from extractors.core.documents import ParseHeader

_KINDS = {401: "forbidden", 403: "forbidden", 407: "forbidden", 404: "missing", 410: "missing", 412: "changed"}


class WebStore:
    """Fetches images by `address`, else by `uri`; messages hold the redacted URL.

    It connects only to public addresses and `allowed_hosts`, and ignores proxies of the environment: a proxy would bypass
    that check. User info of a URL is sent as basic authentication to its own origin only, not through a redirect: a
    manifest has no other way to name a password.
    """

    readers = 64  # requests wait for the network, not for a core

    def __init__(
        self,
        allowed_hosts: Collection[str] = (),
        limits: FetchLimits | None = None,
        environment: NetworkEnvironment | None = None,
    ) -> None:
        self._limits = limits or FetchLimits()
        self._fetcher = Fetcher(allowed_hosts, self.readers, self._limits, environment or NetworkEnvironment())

    def close(self) -> None:
        """Close all connections."""
        self._fetcher.close()

    def stat(self, found: Found) -> Found:
        """Return the image with size, version and time, or with the problem."""
        if found.version or found.problem:
            return found
        try:
            answer = self._probe(found)
            self._check_size(answer.length if not found.video else None)
        except DocumentError as error:
            return replace(found, problem=Problem(error.kind, "scan", error.message, error.final))
        return replace(found, size=answer.length, version=answer.version, modified=answer.modified)

    def link(self, found: Found) -> str:
        """Return the full URL. Raises DocumentError for one that is not http or https."""
        Target.parse(_address_of(found))
        return _address_of(found)

    def open(self, found: Found) -> BinaryIO:
        """Open the image; the first 64 KiB are fetched now, others when read."""
        self._check_size(found.size)
        answer = self._fetch_range(found, 0, BLOCK)
        if answer.length is None:
            return io.BytesIO(self.read(found))
        return cast(
            "BinaryIO", RangeReader(_slice(answer, 0, BLOCK), answer.length, self._range_fetcher(found, answer))
        )

    def read_header(self, found: Found, parse: ParseHeader) -> Header | None:
        """Return None: the stream of `open` is read."""
        del found, parse
        return None

    def read(self, found: Found) -> bytes:
        """Return all bytes of the image, in one request."""
        self._check_size(found.size)
        answer = self._fetch(found, if_match(found.version), self._limit_all)
        if answer.status == 206:
            raise _read_error(found, "the server sent a part of the file instead of all of it")
        self._check_size(len(answer.body))
        if found.size not in {None, len(answer.body)}:
            raise _changed_error(found)
        return answer.body

    def _probe(self, found: Found) -> FetchResponse:
        """Request the metadata by HEAD, or by GET of one byte where HEAD gives too little."""
        kind = "video" if found.video else "image"
        answer = self._fetcher.fetch(FetchRequest("HEAD", _address_of(found)))
        if not (answer.has_content and answer.length and answer.may_hold(kind)):
            answer = self._fetcher.fetch(FetchRequest("GET", _address_of(found), {"Range": "bytes=0-0"}, lambda _: 1))
        if answer.status == 416 and answer.length == 0:
            return answer
        _check_response(found, answer)
        if not answer.may_hold(kind):
            # Not final: a server may send an error page today and the image tomorrow.
            named = "a video" if found.video else "an image"
            message = f"{redact_url(found.uri)} is not {named}: the server sent content type {answer.content}"
            raise DocumentError(message, kind="not_an_image", stage="scan", final=False)
        return answer

    def _range_fetcher(self, found: Found, first: FetchResponse) -> Callable[[int, int], bytes]:
        """Return a function that fetches ranges of the opened version.

        Where the server ignores ranges, the bytes read so far are kept: each range would transfer everything before it again.
        """
        opened = replace(found, size=first.length, version=found.version or first.version)
        kept = b"" if first.status == 206 else first.body

        def fetch(start: int, end: int) -> bytes:
            nonlocal kept
            if end <= len(kept):
                return kept[start:end]
            answer = self._fetch_range(opened, start, end)
            if answer.status != 206:
                kept = answer.body
            data = _slice(answer, start, end)
            if len(data) != end - start:
                raise _read_error(found, "the server sent fewer bytes than announced")
            return data

        return fetch

    def _fetch_range(self, found: Found, start: int, end: int) -> FetchResponse:
        """Fetch this range, or everything before `end`."""
        headers = {"Range": f"bytes={start}-{end - 1}", **if_match(found.version)}
        answer = self._fetch(
            found, headers, lambda head: end - start if head.status == 206 else self._limit_whole(head, end)
        )
        if answer.status == 206 and answer.length is not None:
            wanted = (start, min(end, answer.length))
            if answer.byte_range != wanted or len(answer.body) != wanted[1] - start:
                raise _read_error(found, "the server sent another range than requested")
        return answer

    def _limit_whole(self, answer: FetchResponse, end: int) -> int:
        """Return how much to read of a whole file: up to `end`, nothing if it is read again later."""
        self._check_size(answer.length)
        return 0 if answer.length is None else end

    def _limit_all(self, answer: FetchResponse) -> int:
        self._check_size(answer.length)
        return self._limits.bytes + 1

    def _fetch(self, found: Found, headers: dict[str, str], room: Callable[[FetchResponse], int]) -> FetchResponse:
        """Fetch the version that was found. Raises DocumentError as a Store does."""
        answer = self._fetcher.fetch(FetchRequest("GET", _address_of(found), headers, room))
        _check_response(found, answer)
        if not answer.matches(found.version, found.size):
            raise _changed_error(found)
        return answer

    def _check_size(self, size: int | None) -> None:
        if (size or 0) > self._limits.bytes:
            message = f"{size:,} bytes are over the limit of {self._limits.bytes:,}"
            raise DocumentError(message, kind="too_many_bytes", stage="scan")


def _address_of(found: Found) -> str:
    return found.address.get_secret_value() if found.address else found.uri


def _check_response(found: Found, answer: FetchResponse) -> None:
    """Raises DocumentError for a response that is not the image's bytes."""
    kind = _KINDS.get(answer.status, "unreadable")
    if kind == "changed":
        raise _changed_error(found)
    if not answer.has_content:
        message = f"{redact_url(found.uri)} cannot be read: {answer.status_text}"
        raise DocumentError(message, kind=kind, stage="scan", final=False)
    if answer.encoding:
        # Never decompressed: a few bytes may become any number.
        raise _read_error(found, f"the server sent it encoded as {answer.encoding}")


def _slice(answer: FetchResponse, start: int, end: int) -> bytes:
    return answer.body if answer.status == 206 else answer.body[start:end]


def _changed_error(found: Found) -> DocumentError:
    message = f"{redact_url(found.uri)} changed since it was listed; the next run reads the new version"
    return DocumentError(message, kind="changed", stage="scan", final=False)


def _read_error(found: Found, why: str) -> DocumentError:
    message = f"{redact_url(found.uri)} cannot be read: {why}"
    return DocumentError(message, kind="unreadable", stage="scan", final=False)
