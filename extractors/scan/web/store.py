"""Images at http(s) URLs: what is found there, and headers and bytes of it, each only as the version that was found."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

from extractors.core import Problem
from extractors.core.errors import DocumentError
from extractors.scan.ranged import BLOCK, Ranged
from extractors.scan.redact import bare
from extractors.scan.web.fetch import Fetcher, Patience, Question, World
from extractors.scan.web.response import Answer, condition
from extractors.scan.web.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extractors.core import Found

_KINDS = {401: "forbidden", 403: "forbidden", 407: "forbidden", 404: "missing", 410: "missing", 412: "changed"}


class WebStore:
    """Reads what URLs name; a `Found` is asked for by its `address`, else by its `uri`, and spoken of by its bare URL.

    Only public addresses are connected to, and `allowed_hosts`; proxies of the environment are not used, as one would
    connect to whatever it is told. User info of a URL is sent to that URL's own origin, as basic authentication: a
    manifest has no other way to name a password; a redirect elsewhere goes without it.
    """

    readers = 64  # a request waits for the network, not for a core

    def __init__(
        self, allowed_hosts: Collection[str] = (), patience: Patience | None = None, world: World | None = None
    ) -> None:
        self._patience = patience or Patience()
        self._fetcher = Fetcher(allowed_hosts, self.readers, self._patience, world or World())

    def close(self) -> None:
        """Ends every connection."""
        self._fetcher.close()

    def look(self, found: Found) -> Found:
        """The image's size, version and time, or the flaw that it cannot be had."""
        if found.version or found.problem:
            return found
        try:
            answer = self._told(found)
            self._check_size(answer.length if not found.video else None)
        except DocumentError as error:
            return replace(found, problem=Problem(error.kind, "scan", error.message, error.final))
        return replace(found, size=answer.length, version=answer.version, modified=answer.modified)

    def link(self, found: Found) -> str:
        """The URL in full. Raises DocumentError for one that is not http or https."""
        Target.of(_address(found))
        return _address(found)

    def open(self, found: Found) -> BinaryIO:
        """The image from its start, of which the first 64 KiB are fetched and more when it is read."""
        self._check_size(found.size)
        answer = self._part(found, 0, BLOCK)
        if answer.length is None:
            return io.BytesIO(self.read(found))
        return cast("BinaryIO", Ranged(_cut(answer, 0, BLOCK), answer.length, self._more(found, answer)))

    def read(self, found: Found) -> bytes:
        """All bytes of the image, in one request."""
        self._check_size(found.size)
        answer = self._get(found, condition(found.version), self._all)
        if answer.status == 206:
            raise _unreadable(found, "the server sends a part of it, when asked for all")
        self._check_size(len(answer.body))
        if found.size not in {None, len(answer.body)}:
            raise _changed(found)
        return answer.body

    def _told(self, found: Found) -> Answer:
        """What the server says of the image: to HEAD, or to a question for one byte where it makes too little of that."""
        kind = "video" if found.video else "image"
        answer = self._fetcher.ask(Question("HEAD", _address(found)))
        if not (answer.found and answer.length and answer.may_be(kind)):
            one = Question("GET", _address(found), {"Range": "bytes=0-0"}, lambda _: 1)
            answer = self._fetcher.ask(one)
        if answer.status == 416 and answer.length == 0:
            return answer
        _check(found, answer)
        if not answer.may_be(kind):
            # Not final: a server may show a page of its own today, and the image tomorrow.
            message = f"{bare(found.uri)} is no {kind}: the server calls it {answer.content}"
            raise DocumentError(message, kind="not_an_image", stage="scan", final=False)
        return answer

    def _more(self, found: Found, first: Answer) -> Callable[[int, int], bytes]:
        """Fetches parts of the version that was opened.

        Of a server that knows no parts, what was read once is kept: every part would be all that stands before it, again.
        """
        opened = replace(found, size=first.length, version=found.version or first.version)
        kept = b"" if first.status == 206 else first.body

        def fetch(start: int, end: int) -> bytes:
            nonlocal kept
            if end <= len(kept):
                return kept[start:end]
            answer = self._part(opened, start, end)
            if answer.status != 206:
                kept = answer.body
            data = _cut(answer, start, end)
            if len(data) != end - start:
                raise _unreadable(found, "the server sends fewer bytes than it said")
            return data

        return fetch

    def _part(self, found: Found, start: int, end: int) -> Answer:
        """An answer that holds these bytes, or all that there are before `end`."""
        asked = {"Range": f"bytes={start}-{end - 1}", **condition(found.version)}
        answer = self._get(found, asked, lambda head: end - start if head.status == 206 else self._head_of(head, end))
        if answer.status == 206 and answer.length is not None:
            wanted = (start, min(end, answer.length))
            if answer.span != wanted or len(answer.body) != wanted[1] - start:
                raise _unreadable(found, "the server sends other bytes than those asked for")
        return answer

    def _head_of(self, answer: Answer, end: int) -> int:
        """How much to read of an answer that is the whole: no more than is needed, none if it will be read anew."""
        self._check_size(answer.length)
        return 0 if answer.length is None else end

    def _all(self, answer: Answer) -> int:
        self._check_size(answer.length)
        return self._patience.bytes + 1

    def _get(self, found: Found, headers: dict[str, str], room: Callable[[Answer], int]) -> Answer:
        """An answer of the version that was found. Raises DocumentError as a Store does."""
        answer = self._fetcher.ask(Question("GET", _address(found), headers, room))
        _check(found, answer)
        if not answer.is_of(found.version, found.size):
            raise _changed(found)
        return answer

    def _check_size(self, size: int | None) -> None:
        if (size or 0) > self._patience.bytes:
            message = f"{size:,} bytes are over the limit of {self._patience.bytes:,}"
            raise DocumentError(message, kind="too_many_bytes", stage="scan")


def _address(found: Found) -> str:
    return found.address.get_secret_value() if found.address else found.uri


def _check(found: Found, answer: Answer) -> None:
    """Raises DocumentError for an answer that is not the image's bytes."""
    kind = _KINDS.get(answer.status, "unreadable")
    if kind == "changed":
        raise _changed(found)
    if not answer.found:
        message = f"{bare(found.uri)} cannot be read: {answer.said}"
        raise DocumentError(message, kind=kind, stage="scan", final=False)
    if answer.encoding:
        # Never unpacked: a few bytes may become any number.
        raise _unreadable(found, f"the server encodes it as {answer.encoding}, unasked")


def _cut(answer: Answer, start: int, end: int) -> bytes:
    return answer.body if answer.status == 206 else answer.body[start:end]


def _changed(found: Found) -> DocumentError:
    message = f"{bare(found.uri)} was written to since it was found; the next run takes it as it is then"
    return DocumentError(message, kind="changed", stage="scan", final=False)


def _unreadable(found: Found, why: str) -> DocumentError:
    message = f"{bare(found.uri)} cannot be read: {why}"
    return DocumentError(message, kind="unreadable", stage="scan", final=False)
