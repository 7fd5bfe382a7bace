"""A response's headers as size, version, time and content type."""

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
# Content-Encodings that change no byte; the last is kept by S3 from chunked uploads.
_PLAIN = frozenset({"", "identity", "none", "aws-chunked"})
_ANY_BYTES = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/pdf"})


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """One response; header names are in lower case; `body` may be a part."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # a redirect's may hold a signed URL
    body: bytes = field(default=b"", repr=False)

    @property
    def status_text(self) -> str:
        """The status in words of this program: the server's own may echo the URL."""
        try:
            return f"the server returned {self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return f"the server returned {self.status}"

    @property
    def has_content(self) -> bool:
        """Whether the body is the content or a part of it."""
        return self.status in {200, 203, 206}

    @property
    def byte_range(self) -> tuple[int, int] | None:
        """The byte range of a part, end exclusive."""
        found = self._content_range()
        return (int(found[1]), int(found[2]) + 1) if self.status == 206 and found and found[1] else None

    @property
    def length(self) -> int | None:
        """The total size in bytes, where the headers give it."""
        found = self._content_range()
        if self.status in {206, 416}:
            return int(found[3]) if found and found[3] != "*" else None
        length = self.headers.get("content-length", "")
        return int(length) if _LENGTH.fullmatch(length) and self.encoding is None else None

    @property
    def etag(self) -> str | None:
        """The etag as sent."""
        return self.headers.get("etag", "").strip() or None

    @property
    def modified(self) -> datetime | None:
        """`Last-Modified` in UTC."""
        return parse_date(self.headers.get("last-modified", ""))

    @property
    def version(self) -> str | None:
        """The etag, else length and time: changes when the bytes may have."""
        return self.etag or self.dated_version

    @property
    def dated_version(self) -> str | None:
        """The version made of length and time."""
        if self.length is None or self.modified is None:
            return None
        return f"{self.length}-{self.modified.isoformat()}"

    @property
    def encoding(self) -> str | None:
        """The Content-Encoding; None for plain bytes."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        return None if encoding in _PLAIN else _sanitize(encoding)

    @property
    def content(self) -> str:
        """The content type without parameters."""
        return _sanitize(self.headers.get("content-type", "").partition(";")[0].strip().lower())

    def may_hold(self, kind: str) -> bool:
        """Return whether the content may be of this kind; many servers label every file as bytes."""
        return self.content in _ANY_BYTES or self.content.startswith(f"{kind}/")

    def matches(self, version: str | None, size: int | None) -> bool:
        """Return whether the response is of this version and size; weak and strong etags are equal."""
        if None not in {size, self.length} and size != self.length:
            return False
        return version is None or _strip_weak(version) in {
            _strip_weak(each) for each in (self.etag, self.dated_version) if each
        }

    def _content_range(self) -> re.Match[str] | None:
        return _RANGE.fullmatch(self.headers.get("content-range", "").strip())


def parse_date(text: str) -> datetime | None:
    """Parse a header's date as UTC; None for anything else."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser's own, for truncated text
        return None


def if_match(version: str | None) -> dict[str, str]:
    """Return the header that requests this version only, where it is a strong etag."""
    return {"If-Match": version} if version and _STRONG.fullmatch(version) else {}


def _sanitize(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else "an unusual value"


def _strip_weak(version: str) -> str:
    return version.removeprefix("W/")
