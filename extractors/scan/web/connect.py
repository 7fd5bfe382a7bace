"""Connections to checked addresses only, each of which ends by a moment: httpcore's network, guarded.

httpcore hands the numbers of a request's `timeout` to its network as they are. Here they are moments of the clock by which
the request is over, not seconds that every single read may take anew: a server that drips cannot hold anybody.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpcore

from extractors.scan.web.ssrf import checked

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterable

    from extractors.scan.web.ssrf import Resolve

SILENCE = 20.0  # seconds without a byte, or until one address answers


@dataclass(frozen=True, slots=True)
class Guarded(httpcore.NetworkBackend):
    """Resolves, checks, and connects to what was checked: no name is resolved a second time."""

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
        """A connection to the first address that answers. Raises DocumentError as `checked` does."""
        try:
            addresses = checked(host, port, self.allowed_hosts, self.resolve)
        except OSError as error:
            raise httpcore.ConnectError("no name server answers") from error
        failure: Exception | None = None
        for address in addresses:
            try:
                left = _left(timeout, self.clock, httpcore.ConnectTimeout)
                plain = self.network.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Timed(plain, self.clock)
        assert failure is not None
        raise failure


@dataclass(frozen=True, slots=True)
class _Timed(httpcore.NetworkStream):
    """A connection on which nothing is waited for beyond the moment given."""

    stream: httpcore.NetworkStream
    clock: Callable[[], float]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left(timeout, self.clock, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left(timeout, self.clock, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, self.clock, httpcore.ConnectTimeout)
        return _Timed(self.stream.start_tls(ssl_context, server_hostname, left), self.clock)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _left(moment: float | None, clock: Callable[[], float], late: type[Exception]) -> float:
    """The seconds that may be waited. Raises `late` when there are none."""
    left = SILENCE if moment is None else min(moment - clock(), SILENCE)
    if left <= 0:
        raise late("the time is over")
    return left
