"""Send one request: follow redirects, retry what another attempt can cure, within a deadline."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpcore
import tenacity

from extractors.core.errors import DocumentError, first_line
from extractors.core.redact import redact_url
from extractors.images.limits import MAX_BYTES
from extractors.scan.web.connect import SsrfGuardBackend
from extractors.scan.web.response import FetchResponse, parse_date
from extractors.scan.web.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extractors.scan.web.ssrf import Resolve

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_RETRYABLE = frozenset({408, 425, 429})
_NOT_RETRYABLE = frozenset({501, 505})
_DRAIN_BYTES = 16 * 2**10  # bytes read of an unwanted body, so that its connection can be reused
_HTTPCORE_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
)  # the errors that httpcore raises


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of one fetch: total seconds, bytes, attempts, the first wait, and the longest accepted `Retry-After`."""

    seconds: float = 60.0
    bytes: int = MAX_BYTES
    attempts: int = 3
    first: float = 0.5
    longest: float = 10.0


@dataclass(frozen=True, slots=True)
class NetworkEnvironment:
    """The outside world as parameters: resolver, clock, sleep, and trusted certificates."""

    resolve: Resolve = socket.getaddrinfo
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    trust: Callable[[], ssl.SSLContext] = httpcore.default_ssl_context  # certifi's and the system's


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A request; `body_limit` returns, for the head of a response, how many bytes of the body to read."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    body_limit: Callable[[FetchResponse], int] = lambda _: _DRAIN_BYTES

    @property
    def redacted_url(self) -> str:
        """The URL without secrets."""
        return redact_url(self.url)


class _RetryableError(Exception):
    """Carries a failed attempt to the retry policy; `wait` is the server's `Retry-After`."""

    def __init__(self, error: DocumentError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.wait = error, wait


class Fetcher:
    """Sends requests over one connection pool, from any thread; user info of a URL goes to its own origin only."""

    def __init__(
        self, allowed_hosts: Collection[str], max_connections: int, limits: FetchLimits, environment: NetworkEnvironment
    ) -> None:
        # At DEBUG httpcore logs all response headers: a redirect's may hold a signed URL.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        self._limits, self._environment = limits, environment
        self._pool = httpcore.ConnectionPool(
            ssl_context=environment.trust(),
            max_connections=max_connections,
            keepalive_expiry=5.0,
            network_backend=SsrfGuardBackend(frozenset(allowed_hosts), environment.resolve, environment.clock),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def fetch(self, request: FetchRequest) -> FetchResponse:
        """Return the response, of any status. Raises DocumentError for no response, a passed deadline, or a refused redirect."""
        end = self._environment.clock() + self._limits.seconds
        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_RetryableError),
            stop=_StopAtDeadline(end, self._environment.clock) | tenacity.stop_after_attempt(self._limits.attempts),
            wait=self._wait,
            sleep=self._environment.sleep,
            reraise=True,
        )
        try:
            return policy(self._fetch_once, request, end)
        except _RetryableError as failure:
            raise failure.error from failure.__cause__

    def _wait(self, state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        error = state.outcome.exception()
        assert isinstance(error, _RetryableError)
        backoff: float = self._limits.first * 2.0 ** (state.attempt_number - 1)
        return backoff if error.wait is None else min(max(error.wait, 0.0), self._limits.longest)

    def _fetch_once(self, request: FetchRequest, end: float) -> FetchResponse:
        """One try. Raises _Again for what another may cure."""
        try:
            answer = self._follow_redirects(request, end)
        except _HTTPCORE_ERRORS as error:
            why = self._describe_failure(error, end)
            failed = _read_error(request.redacted_url, why)
            if isinstance(error, httpcore.LocalProtocolError) or _is_certificate_error(error):
                raise failed from error
            raise _RetryableError(failed) from error
        if _is_retryable(request.method, answer.status):
            raise _RetryableError(_read_error(request.redacted_url, answer.status_text), _retry_after(answer))
        return answer

    def _follow_redirects(self, request: FetchRequest, end: float) -> FetchResponse:
        """Return the response after all redirects; each target is checked like the first address."""
        first = target = Target.parse(request.url)
        for _ in range(_MAX_REDIRECTS + 1):
            credentials = (
                {"Authorization": first.basic_auth} if first.basic_auth and target.origin == first.origin else {}
            )
            answer = self._send(request, target, credentials, end)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            location = answer.headers["location"].encode("latin-1").decode("utf-8", errors="replace")
            target = target.redirect(location)
        raise _read_error(request.redacted_url, f"it still redirects after {_MAX_REDIRECTS} redirects")

    def _send(self, request: FetchRequest, target: Target, credentials: dict[str, str], end: float) -> FetchResponse:
        headers = {
            "Host": target.host_header,
            "User-Agent": "tilewise",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **request.headers,
            **credentials,
        }
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()],
            extensions={"timeout": {"pool": self._limits.seconds, "connect": end, "read": end, "write": end}},
        )
        response = self._pool.handle_request(outgoing)
        try:
            answer = _read_head(response)
            body = _read_body(response, request.body_limit(answer) if answer.has_content else _DRAIN_BYTES)
        finally:
            response.close()
        return FetchResponse(answer.status, answer.headers, body)

    def _describe_failure(self, error: Exception, end: float) -> str:
        if self._environment.clock() >= end:
            return f"it took longer than {self._limits.seconds:g} s"
        if isinstance(error, httpcore.TimeoutException):
            return "the server does not respond"
        text = first_line(error)
        return (
            "the server violates HTTP" if "bytearray(" in text else text
        )  # not the server's bytes: they may echo the URL


class _StopAtDeadline(tenacity.stop.stop_base):
    """Stops where the next wait would end after the deadline."""

    def __init__(self, end: float, clock: Callable[[], float]) -> None:
        self._end, self._clock = end, clock

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return self._clock() + retry_state.upcoming_sleep >= self._end


def _read_head(response: httpcore.Response) -> FetchResponse:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return FetchResponse(response.status, headers)


def _read_body(response: httpcore.Response, limit: int) -> bytes:
    """Read at most `limit` bytes of the body."""
    kept, size = [], 0
    for piece in response.iter_stream():
        kept.append(piece)
        size += len(piece)
        if size > limit:
            break
    return b"".join(kept)[:limit]


def _is_retryable(method: str, status: int) -> bool:
    """Return whether to retry the status; a server that fails on HEAD is asked by GET instead."""
    if method == "HEAD":
        return status in {429, 503}
    return status in _RETRYABLE or (status >= 500 and status not in _NOT_RETRYABLE)


def _retry_after(response: FetchResponse) -> float | None:
    """Return the seconds of `Retry-After`, given as a number or a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = parse_date(value)
    return (until - datetime.now(UTC)).total_seconds() if until else None


def _is_certificate_error(error: Exception) -> bool:
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in error.args)


def _read_error(name: str, why: str) -> DocumentError:
    return DocumentError(f"{name} cannot be read: {why}", kind="unreadable", stage="scan", final=False)
