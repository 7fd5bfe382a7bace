"""A URL as it is asked for over the wire: read once, so that what was checked is what is connected to."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes, urljoin

from extractors.core.errors import DocumentError, shown
from extractors.scan.redact import bare, split
from extractors.scan.web.ssrf import canonical

_PORTS = {"http": 80, "https": 443}
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))  # goes as it is: a signature is of these very letters
Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask for what. `path` holds the query, which may be signed; `user` is the user info."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    user: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Target:
        """Raises DocumentError: `blocked_address` for a scheme other than http and https, else `unreadable`."""
        parts = split(url)
        if parts is None:
            raise DocumentError(f"{shown(url)[:200]} is no URL", kind="unreadable", stage="scan")
        scheme, user, place, path, query = parts
        if scheme not in _PORTS:
            message = f"{bare(url)[:200]} is not fetched: only http and https are"
            raise DocumentError(message, kind="blocked_address", stage="scan", final=False)
        if "\\" in user + place:  # a slash to some
            raise DocumentError(f"{bare(url)[:200]} has a backslash in its host", kind="unreadable", stage="scan")
        host, port = _place(place, _PORTS[scheme])
        return cls(scheme, canonical(host), port, quote((path or "/") + query, safe=_PRINTABLE), user)

    @property
    def origin(self) -> Origin:
        """To whom what is said to one may be said to the other."""
        return self.scheme, self.host, self.port

    @property
    def place(self) -> str:
        """Host and port as the header `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def basic(self) -> str | None:
        """The user info as the header `Authorization` has it."""
        if not self.user:
            return None
        name, _, password = self.user.partition(":")
        said = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        return f"Basic {base64.b64encode(said).decode('ascii')}"

    def led_to(self, location: str) -> Target:
        """Where a redirect leads. Raises DocumentError as `of` does, and `blocked_address` for one from https to http."""
        url = _joined(f"{self.scheme}://{self.place}{self.path}", location.strip())
        led = Target.of(url)
        if self.scheme == "https" and led.scheme == "http":
            message = f"{bare(url)} is not fetched: https://{self.place} leads to it, from https to http"
            raise DocumentError(message, kind="blocked_address", stage="scan", final=False)
        return led


def _joined(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
    except ValueError:  # brackets that hold no address
        joined = location
    scheme = re.match(r"[a-z][a-z0-9+.-]*(?=:)", joined, re.IGNORECASE)
    return joined if scheme is None or "://" in joined else f"{scheme[0]}://"  # data:, javascript:


def _place(place: str, default: int) -> tuple[str, int]:
    """Host and port. Raises DocumentError for a port that is none."""
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        return place, default
    if not port:
        return host, default
    if not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 65_536):
        raise DocumentError(f"{place[:100]!r} names no port: use 1 to 65535", kind="unreadable", stage="scan")
    return host, int(port)
