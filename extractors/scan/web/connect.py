"""httpcore's network backend with an SSRF guard and a deadline for each request.

httpcore passes the numbers of a request's `timeout` on unchanged. Here they are deadlines on the clock, not seconds for each
read: a server that sends one byte at a time cannot hold a connection.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpcore

from extractors.scan.web.ssrf import resolve_public

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterable

    from extractors.scan.web.ssrf import Resolve

MAX_SILENCE = 20.0  # seconds without a byte, or until an address answers


@dataclass(frozen=True, slots=True)
class SsrfGuardBackend(httpcore.NetworkBackend):
    """Resolves a name once, checks its addresses, and connects only to those."""

    allowed_hosts: Collection[str]
    resolve: Resolve
    clock: Callable[[], float] = time.monotonic
    network: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers. Raises DocumentError as `checked` does."""
        try:
            addresses = resolve_public(host, port, self.allowed_hosts, self.resolve)
        except OSError as error:
            raise httpcore.ConnectError("no name server answers") from error
        failure: Exception | None = None
        for address in addresses:
            try:
                seconds = _count_seconds_left(timeout, self.clock, httpcore.ConnectTimeout)
                plain = self.network.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(plain, self.clock)
        assert failure is not None
        raise failure


@dataclass(frozen=True, slots=True)
class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose timeouts are deadlines."""

    stream: httpcore.NetworkStream
    clock: Callable[[], float]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _count_seconds_left(timeout, self.clock, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _count_seconds_left(timeout, self.clock, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = _count_seconds_left(timeout, self.clock, httpcore.ConnectTimeout)
        return _DeadlineStream(self.stream.start_tls(ssl_context, server_hostname, seconds), self.clock)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _count_seconds_left(deadline: float | None, clock: Callable[[], float], late: type[Exception]) -> float:
    """Return the seconds until the deadline. Raises `late` when there are none."""
    seconds = MAX_SILENCE if deadline is None else min(deadline - clock(), MAX_SILENCE)
    if seconds <= 0:
        raise late("the deadline has passed")
    return seconds
