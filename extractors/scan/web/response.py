"""What a web server's answer says of the thing it holds: size, version, time, kind of content."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_TOKEN = re.compile(r"[\w.+/, -]{0,80}", re.ASCII)
# Bytes as they are, whatever the words; the last is what S3 keeps of how an object was uploaded.
_PLAIN = frozenset({"", "identity", "none", "aws-chunked"})
_ANY_BYTES = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/pdf"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; names of headers are in lower case. `body` is as much of it as was wanted."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # a redirect's may hold a signed URL
    body: bytes = field(default=b"", repr=False)

    @property
    def said(self) -> str:
        """The status in words, which are not the server's: those may echo the URL."""
        try:
            return f"the server answers {self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return f"the server answers {self.status}"

    @property
    def found(self) -> bool:
        """Whether it is the thing itself, or a part of it."""
        return self.status in {200, 203, 206}

    @property
    def span(self) -> tuple[int, int] | None:
        """Which bytes of the whole a part is, the end exclusive."""
        said = self._range()
        return (int(said[1]), int(said[2]) + 1) if self.status == 206 and said and said[1] else None

    @property
    def length(self) -> int | None:
        """The size of the whole in bytes, where it is told."""
        said = self._range()
        if self.status in {206, 416}:
            return int(said[3]) if said and said[3] != "*" else None
        told = self.headers.get("content-length", "")
        return int(told) if _LENGTH.fullmatch(told) and self.encoding is None else None

    @property
    def etag(self) -> str | None:
        """The etag as it was sent."""
        return self.headers.get("etag", "").strip() or None

    @property
    def modified(self) -> datetime | None:
        """`Last-Modified` in UTC."""
        return moment(self.headers.get("last-modified", ""))

    @property
    def version(self) -> str | None:
        """Changes when the bytes may have: the etag, else length and time."""
        return self.etag or self.dated

    @property
    def dated(self) -> str | None:
        """The version that length and time make."""
        if self.length is None or self.modified is None:
            return None
        return f"{self.length}-{self.modified.isoformat()}"

    @property
    def encoding(self) -> str | None:
        """How the bytes are encoded, although that was not asked for; None when they are as they are."""
        said = self.headers.get("content-encoding", "").strip().lower()
        return None if said in _PLAIN else _token(said)

    @property
    def content(self) -> str:
        """The content's type, without its parameters."""
        return _token(self.headers.get("content-type", "").partition(";")[0].strip().lower())

    def may_be(self, kind: str) -> bool:
        """Whether the content may be an image, or a video; many servers say of any file only that it is bytes."""
        return self.content in _ANY_BYTES or self.content.startswith(f"{kind}/")

    def is_of(self, version: str | None, size: int | None) -> bool:
        """Whether it tells of this version and size; an etag is the same whether it is called weak or not."""
        if None not in {size, self.length} and size != self.length:
            return False
        return version is None or _opaque(version) in {_opaque(each) for each in (self.etag, self.dated) if each}

    def _range(self) -> re.Match[str] | None:
        return _RANGE.fullmatch(self.headers.get("content-range", "").strip())


def moment(text: str) -> datetime | None:
    """A header's date in UTC; None for what is no date."""
    try:
        said = parsedate_to_datetime(text)
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser's own, over what is cut short
        return None


def condition(version: str | None) -> dict[str, str]:
    """The header that asks for this version only, where it is an etag that may be asked for."""
    return {"If-Match": version} if version and _STRONG.fullmatch(version) else {}


def _token(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else "something unnamed"


def _opaque(version: str) -> str:
    return version.removeprefix("W/")
