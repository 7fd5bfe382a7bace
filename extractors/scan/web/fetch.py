"""One question to a web server and its answer: redirects followed by hand, tried again where that helps, in bounded time."""

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
from extractors.images.open import MAX_BYTES
from extractors.scan.redact import bare
from extractors.scan.web.connect import Guarded
from extractors.scan.web.response import Answer, moment
from extractors.scan.web.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extractors.scan.web.ssrf import Resolve

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_AGAIN = frozenset({408, 425, 429})
_NOT_AGAIN = frozenset({501, 505})
_ASIDE = 16 * 2**10  # bytes read of an answer that is not wanted, so that its connection can be used again
_FOREIGN = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)  # whatever httpcore raises


@dataclass(frozen=True, slots=True)
class Patience:
    """What one fetch may take: seconds in all, bytes, tries; how long the first wait is, and the longest a server may ask for."""

    seconds: float = 60.0
    bytes: int = MAX_BYTES
    attempts: int = 3
    first: float = 0.5
    longest: float = 10.0


@dataclass(frozen=True, slots=True)
class World:
    """What lies outside: name servers, clock, sleep, and which certificates are believed."""

    resolve: Resolve = socket.getaddrinfo
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    trust: Callable[[], ssl.SSLContext] = httpcore.default_ssl_context  # certifi's, and those of the machine


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `room` says of an answer's head how many bytes of its body are wanted."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    room: Callable[[Answer], int] = lambda _: _ASIDE

    @property
    def name(self) -> str:
        """The URL as it may be said."""
        return bare(self.url)


class _Again(Exception):  # noqa: N818 - what is to be done is its name
    """Carries what went wrong from one try to the policy; `wait` is what the server asks for."""

    def __init__(self, error: DocumentError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.wait = error, wait


class Fetcher:
    """Asks over one pool of connections, from any thread; user info of a URL goes to that URL's own origin only."""

    def __init__(self, allowed_hosts: Collection[str], most: int, patience: Patience, world: World) -> None:
        # At DEBUG it writes down every answer's headers: a redirect's may hold a signed URL.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        self._patience, self._world = patience, world
        self._pool = httpcore.ConnectionPool(
            ssl_context=world.trust(),
            max_connections=most,
            keepalive_expiry=5.0,
            network_backend=Guarded(frozenset(allowed_hosts), world.resolve, world.clock),
        )

    def close(self) -> None:
        """Ends every connection."""
        self._pool.close()

    def ask(self, question: Question) -> Answer:
        """The answer, whatever its status. Raises DocumentError when there is none, or it is too late or led astray."""
        end = self._world.clock() + self._patience.seconds
        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._patience.attempts), _StopBy(end, self._world.clock)
            ),
            wait=self._wait,
            sleep=self._world.sleep,
            reraise=True,
        )
        try:
            return policy(self._tried, question, end)
        except _Again as again:
            raise again.error from again.__cause__

    def _wait(self, state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        error = state.outcome.exception()
        assert isinstance(error, _Again)
        backoff: float = self._patience.first * 2.0 ** (state.attempt_number - 1)
        return backoff if error.wait is None else min(max(error.wait, 0.0), self._patience.longest)

    def _tried(self, question: Question, end: float) -> Answer:
        """One try. Raises _Again for what another may cure."""
        try:
            answer = self._followed(question, end)
        except _FOREIGN as error:
            why = self._why(error, end)
            failed = _unreadable(question.name, why)
            if isinstance(error, httpcore.LocalProtocolError) or _untrusted(error):
                raise failed from error
            raise _Again(failed) from error
        if _curable(question.method, answer.status):
            raise _Again(_unreadable(question.name, answer.said), _asked_wait(answer))
        return answer

    def _followed(self, question: Question, end: float) -> Answer:
        """The answer at the end of all redirects, each of which is checked like the first address."""
        first = target = Target.of(question.url)
        for _ in range(_MOST_REDIRECTS + 1):
            own = {"Authorization": first.basic} if first.basic and target.origin == first.origin else {}
            answer = self._asked(question, target, own, end)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            location = answer.headers["location"].encode("latin-1").decode("utf-8", errors="replace")
            target = target.led_to(location)
        raise _unreadable(question.name, f"it leads on after {_MOST_REDIRECTS} redirects")

    def _asked(self, question: Question, target: Target, own: dict[str, str], end: float) -> Answer:
        headers = {
            "Host": target.place,
            "User-Agent": "tilewise",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **question.headers,
            **own,
        }
        request = httpcore.Request(
            question.method,
            httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()],
            extensions={"timeout": {"pool": self._patience.seconds, "connect": end, "read": end, "write": end}},
        )
        response = self._pool.handle_request(request)
        try:
            answer = _head(response)
            body = _body(response, question.room(answer) if answer.found else _ASIDE)
        finally:
            response.close()
        return Answer(answer.status, answer.headers, body)

    def _why(self, error: Exception, end: float) -> str:
        if self._world.clock() >= end:
            return f"it took longer than {self._patience.seconds:g} s"
        if isinstance(error, httpcore.TimeoutException):
            return "the server does not answer"
        said = first_line(error)
        return (
            "the server breaks HTTP's rules" if "bytearray(" in said else said
        )  # not what it sent: it may echo the URL


class _StopBy(tenacity.stop.stop_base):
    """Stops where the wait for the next try would end too late for it."""

    def __init__(self, end: float, clock: Callable[[], float]) -> None:
        self._end, self._clock = end, clock

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return self._clock() + retry_state.upcoming_sleep >= self._end


def _head(response: httpcore.Response) -> Answer:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return Answer(response.status, headers)


def _body(response: httpcore.Response, room: int) -> bytes:
    """At most so many bytes of the body, and nothing asked for beyond them."""
    kept, size = [], 0
    for piece in response.iter_stream():
        kept.append(piece)
        size += len(piece)
        if size > room:
            break
    return b"".join(kept)[:room]


def _curable(method: str, status: int) -> bool:
    """Whether the status is worth another try; some servers break over HEAD, and are then asked otherwise."""
    if method == "HEAD":
        return status in {429, 503}
    return status in _AGAIN or (status >= 500 and status not in _NOT_AGAIN)


def _asked_wait(answer: Answer) -> float | None:
    """Seconds that `Retry-After` asks for, as a number or as a date."""
    said = answer.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    until = moment(said)
    return (until - datetime.now(UTC)).total_seconds() if until else None


def _untrusted(error: Exception) -> bool:
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in error.args)


def _unreadable(name: str, why: str) -> DocumentError:
    return DocumentError(f"{name} cannot be read: {why}", kind="unreadable", stage="scan", final=False)
