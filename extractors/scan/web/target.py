"""A URL parsed once for a request, so that the checked host is the one connected to."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes, urljoin

from extractors.core.errors import DocumentError, format_value
from extractors.core.redact import redact_url, split_url
from extractors.scan.web.ssrf import canonical

_PORTS = {"http": 80, "https": 443}
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))  # not encoded again: a signature covers these characters
Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """Origin and path of a request; `path` holds the query, which may be signed; `user` is the user info."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    user: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Target:
        """Parse a URL. Raises DocumentError: `blocked_address` for a scheme other than http and https, else `unreadable`."""
        parts = split_url(url)
        if parts is None:
            raise DocumentError(f"{format_value(url)[:200]} is not a URL", kind="unreadable", stage="scan")
        scheme, user, host_port, path, query = parts
        if scheme not in _PORTS:
            message = f"{redact_url(url)[:200]} is not fetched: only http and https are"
            raise DocumentError(message, kind="blocked_address", stage="scan", final=False)
        if "\\" in user + host_port:  # a slash to some
            raise DocumentError(f"{redact_url(url)[:200]} has a backslash in its host", kind="unreadable", stage="scan")
        host, port = _split_port(host_port, _PORTS[scheme])
        return cls(scheme, canonical(host), port, quote((path or "/") + query, safe=_PRINTABLE), user)

    @property
    def origin(self) -> Origin:
        """The origin that may receive the credentials."""
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        """Host and port as in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def basic_auth(self) -> str | None:
        """The user info as in the header `Authorization`."""
        if not self.user:
            return None
        name, _, password = self.user.partition(":")
        credentials = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        return f"Basic {base64.b64encode(credentials).decode('ascii')}"

    def redirect(self, location: str) -> Target:
        """Return a redirect's target. Raises DocumentError as `parse` does, and `blocked_address` from https to http."""
        url = _join(f"{self.scheme}://{self.host_header}{self.path}", location.strip())
        target = Target.parse(url)
        if self.scheme == "https" and target.scheme == "http":
            message = (
                f"{redact_url(url)} is not fetched: https://{self.host_header} redirects to it, from https to http"
            )
            raise DocumentError(message, kind="blocked_address", stage="scan", final=False)
        return target


def _join(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
    except ValueError:  # brackets without an address
        joined = location
    scheme = re.match(r"[a-z][a-z0-9+.-]*(?=:)", joined, re.IGNORECASE)
    return joined if scheme is None or "://" in joined else f"{scheme[0]}://"  # data:, javascript:


def _split_port(host_port: str, default: int) -> tuple[str, int]:
    """Split host and port. Raises DocumentError for an invalid port."""
    host, colon, port = host_port.rpartition(":")
    if not colon or host_port.endswith("]"):
        return host_port, default
    if not port:
        return host, default
    if not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 65_536):
        raise DocumentError(f"{host_port[:100]!r} has an invalid port: use 1 to 65535", kind="unreadable", stage="scan")
    return host, int(port)
