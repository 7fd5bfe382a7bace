"""Sends a request until it is answered, and records each attempt: retries around one send, one loop each."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import aiohttp
import httpx

from extractors.call import response as replies
from extractors.call.logprobs import LogprobOption, LogprobsRefusedError, refuses_logprobs
from extractors.call.retry import CallFault, Retries
from extractors.call.transport import BodyStream
from extractors.core import Attempt, Billing, CallRequest, Journal, Outcome, Reply, Verdict
from extractors.core.errors import DocumentError, Refused, RunError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

    from extractors.call.circuit_breaker import CircuitBreaker
    from extractors.call.faults import Fault
    from extractors.call.rate_limit import Permit, RateLimiter
    from extractors.call.request import RequestBody
    from extractors.core.calls import TokenLogprobs

    Judge = Callable[[Reply], Verdict]

MIN_SECRET_CHARS = 12  # of a value in an image's URL that may be a signature
MIN_KEY_CHARS = 8  # of an API key that is a secret
MIN_MASKED_CHARS = 4
BUDGET_POLL_SECONDS = 0.2  # between two attempts to reserve the cost of a call while calls in flight hold the budget
MASK = "**********"
_ACTIONS = {
    401: "the key was refused: set TILEWISE_API_KEY or TOGETHER_API_KEY to one that this endpoint accepts",
    402: "the account's spending limit is reached: raise it, then run again",
    404: "no such model or address: check --model and TILEWISE_BASE_URL",
}
_READ = httpx.ByteStream(b"")  # in place of the stream of a response that was read
_NO_ANSWER = "no server answers at this address: check TILEWISE_BASE_URL"


class ChatClient:
    """Sends one run's calls to its endpoint."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        limiter: RateLimiter,
        retries: Retries,
        breaker: CircuitBreaker,
        *,
        timeout: float = 120.0,
        secret: str = "",
        masked: Sequence[str] = (),
        logprobs: LogprobOption | None = None,
    ) -> None:
        """`timeout` limits the seconds of a whole call; `secret` is the key, which is masked in every text.

        A key shorter than MIN_KEY_CHARS is a placeholder, as `EMPTY` for vLLM: masking it would change answers.
        `masked` are the values of extra headers and of the URL's query. Such a value may be an ordinary word, so an answer
        is left as it is unless the value looks like a key.
        """
        self.http, self.limiter, self.retries, self.breaker = http, limiter, retries, breaker
        self.logprobs = logprobs or LogprobOption()
        self._timeout = timeout
        keys = [secret] if len(secret) >= MIN_KEY_CHARS else []
        self._keys = [*keys, *filter(_looks_like_key, masked)]
        values = {*self._keys, *(value for value in masked if len(value) >= MIN_MASKED_CHARS)}
        self._masked = sorted(values, key=len, reverse=True)
        request = http.build_request("POST", "chat/completions")  # its URL and headers are the same for every call
        self._url, self._headers = request.url, request.headers

    async def call(
        self, request: CallRequest, body: RequestBody, journal: Journal, judge: Judge, spent: int = 0
    ) -> tuple[Reply, Verdict]:
        """Returns the answer to this request, whose bytes are in `body`, and its verdict, accepted or not.

        `spent` is how many of the document's attempts earlier requests have used up.

        Raises DocumentError when this document cannot be answered, a RunError when no document can be.
        """
        send = partial(self._send, request, body, journal, judge)
        try:
            return await self.retries.run(send, self.limiter.sleep, spent)
        except CallFault as error:
            raise self._make_document_error(error.fault) from None

    async def _send(
        self, request: CallRequest, body: RequestBody, journal: Journal, judge: Judge
    ) -> tuple[Reply, Verdict]:
        """Sends the request, and once more without log probabilities where the server refuses them.

        That the request is answered then shows that it was refused for them.
        """
        try:
            return await self._send_once(request, body, journal, judge)
        except LogprobsRefusedError as refused:
            message = str(refused)
        answer = await self._send_once(request, body.without_logprobs(), journal, judge)
        self.logprobs.refusal = self.logprobs.refusal or message
        return answer

    async def _send_once(
        self, request: CallRequest, body: RequestBody, journal: Journal, judge: Judge
    ) -> tuple[Reply, Verdict]:
        async with self.limiter.slot(request.tokens) as permit:
            record = _CallRecord(request, journal)
            while not await record.reserve():
                await self.limiter.sleep(BUDGET_POLL_SECONDS)
            if not self.logprobs.asks:  # refused while this call waited
                body = body.without_logprobs()
            reply, fault = await self._exchange_caught(request, body, record)
            verdict = judge(reply) if reply is not None and fault is None else None
            if verdict is not None and verdict.outcome == "connection":  # a stream that broke off
                from extractors.call.faults import Fault  # noqa: PLC0415 - only a call that failed needs it

                fault = Fault("connection", "retry", verdict.errors, billed=_tell_billed(reply))
            if reply is None or verdict is None or fault is not None:
                assert fault is not None
                refused = body.asks_logprobs and reply is not None and refuses_logprobs(reply.status, reply.body)
                outcome = "client_error" if refused else fault.outcome
                await record.settle(outcome, fault.billed, reply, self._mask(fault.full_message))
                if refused:
                    self.limiter.record_answer(permit, 0)
                    raise LogprobsRefusedError(self._mask(fault.message))
                self._handle_failure(fault, permit)
                raise CallFault(fault)
            settling = record.settle(verdict.outcome, _tell_billed(reply), reply, verdict.errors or None)
            await _finish_settling(settling, verdict)
            self.breaker.record_answer()
            tokens = reply.usage.prompt + reply.usage.completion if reply.usage else permit.tokens
            self.limiter.record_answer(permit, tokens)
            return reply, verdict

    async def _exchange_caught(
        self, request: CallRequest, body: RequestBody, record: _CallRecord
    ) -> tuple[Reply | None, Fault | None]:
        """One exchange; errors of the connection are faults, and a cancellation settles the record."""
        try:
            return await self._exchange(body, self._collect_secrets(request))
        except (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError) as error:
            from extractors.call.faults import classify_exception  # noqa: PLC0415 - only a call that failed needs it

            return None, classify_exception(error)
        except asyncio.CancelledError:
            await record.settle("aborted", "unknown", None, "the run was stopped while the call was in flight")
            raise

    async def _exchange(self, body: RequestBody, secrets: Sequence[str]) -> tuple[Reply, Fault | None]:
        """Sends one request and reads its reply, within the time limit, up to the most bytes that an answer can have."""
        async with asyncio.timeout(self._timeout), aclosing(await self._post(body)) as response:
            content = bytearray()
            encoded = "content-encoding" in response.headers  # else the transport's stream needs no layer of httpx
            pieces = cast("AsyncIterable[bytes]", response.aiter_bytes() if encoded else response.stream)
            async for piece in pieces:
                content += piece
                if len(content) > replies.MAX_REPLY_BYTES:
                    break
        response.stream = _READ  # the response and its stream hold each other, and the request's bytes
        whole = len(content) <= replies.MAX_REPLY_BYTES
        secrets = secrets if response.status_code == httpx.codes.OK else [*secrets, *self._masked]
        reply, fault = replies.parse_response(response, _mask_secrets(bytes(content), secrets), whole=whole)
        if reply.logprobs and _holds_secret(reply.logprobs, secrets):
            reply = replace(reply, logprobs=None)
        request_id = reply.request_id and self._mask(reply.request_id)
        return reply if request_id == reply.request_id else replace(reply, request_id=request_id), fault

    async def _post(self, body: RequestBody) -> httpx.Response:
        """Sends one request, and returns its response when the headers are there."""
        headers = self._headers.copy()
        headers["content-length"] = str(body.size)
        request = httpx.Request("POST", self._url, headers=headers, stream=BodyStream(body.parts))
        if self.http.cookies:
            self.http.cookies.set_cookie_header(request)
        return await self.http.send(request, stream=True)

    def _handle_failure(self, fault: Fault, permit: Permit) -> None:
        """Tells the rate limiter and the circuit breaker. Raises the error that stops the run, if this fault does."""
        match fault.outcome:
            case "rate_limited":
                self.limiter.record_refusal(permit, fault.wait)
            case "capacity":
                self.limiter.record_no_capacity(permit)
            case "timeout" | "connection":
                self.limiter.record_lost(permit)
            case _:
                self.limiter.record_answer(permit, 0)
        if fault.remedy == "stop":
            action = _ACTIONS.get(fault.status, _NO_ANSWER)
            raise Refused(f"{action} (the server says: {self._mask(fault.message)})")
        error = self.breaker.record_failure(fault)
        if error:
            raise error

    def _make_document_error(self, fault: Fault) -> DocumentError:
        overflow = fault.outcome == "context_exceeded"
        final = fault.remedy == "fail" and not fault.doubtful and (not overflow or self.breaker.trusted)
        message, public = self._mask(fault.full_message), self._mask(fault.message)
        return DocumentError(
            message, kind=fault.outcome, stage="call", final=final, public=public, refusal=fault.refusal
        )

    def _collect_secrets(self, request: CallRequest) -> list[str]:
        """What must not be kept of a reply: the key and the like, and the signatures of the URLs that were passed on."""
        signatures = [value for link in request.links for value in _find_signatures(link.get_secret_value())]
        return [*self._keys, *signatures]

    def _mask(self, text: str) -> str:
        """The server's words without the secrets that some servers repeat."""
        for secret in self._masked:
            text = text.replace(secret, MASK)
        return text


async def _finish_settling(settling: Awaitable[None], verdict: Verdict) -> None:
    """Waits until the attempt is recorded. A cancellation must not lose a document that is accepted and billed."""
    waiting = asyncio.ensure_future(settling)
    try:
        await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await waiting
        if verdict.outcome != "accepted":
            raise


def _looks_like_key(value: str) -> bool:
    """Whether a value is a key and not a word, a date or a version."""
    return (
        len(value) >= MIN_SECRET_CHARS
        and any(char.isdigit() for char in value)
        and any(char.isalpha() for char in value)
        and not any(char.isspace() for char in value)
    )


def _tell_billed(reply: Reply | None) -> Billing:
    """Whether a call with this reply was billed: the reply's usage says so."""
    return "yes" if reply is not None and reply.usage else "unknown"


def _mask_secrets(content: bytes, secrets: Sequence[str]) -> bytes:
    """The reply without these: it is kept in the ledger and published."""
    for secret in secrets:
        content = content.replace(secret.encode(), MASK.encode())
    return content


def _holds_secret(logprobs: TokenLogprobs, secrets: Sequence[str]) -> bool:
    """Whether the tokens of a reply spell one of these, which its text masks."""
    text = "".join(logprobs.tokens) if secrets else ""
    return any(secret in text for secret in secrets)


def _find_signatures(link: str) -> set[str]:
    """A URL's user and password, and the values in its query that are long enough to be a signature.

    Both as they are written and decoded.
    """
    parts = urlsplit(link)
    written = [pair.partition("=")[2] for pair in parts.query.split("&")]
    meant = [unquote(each) for each in written]
    in_json = [each.replace("/", "\\/") for each in meant]
    user, at, _ = parts.netloc.rpartition("@")
    return {value for value in (*written, *meant, *in_json) if len(value) >= MIN_SECRET_CHARS} | ({user + at} - {""})


class _CallRecord:
    """One attempt's entry in the journal: reserved before the send, settled once."""

    def __init__(self, request: CallRequest, journal: Journal) -> None:
        self._request, self._journal = request, journal
        self._handle: int | None = None
        self._restart_clock()

    async def reserve(self) -> bool:
        """Returns when the intent is durable: only then may the call be sent. False: the budget has no room for it yet."""
        self._restart_clock()
        intending = asyncio.ensure_future(self._journal.reserve(self._request))
        try:
            self._handle = await asyncio.shield(intending)
        except asyncio.CancelledError:
            with suppress(RunError):
                self._handle = await intending
            if self._handle is not None:
                await self.settle("aborted", "no", None, "the run was stopped before the call was sent")
            raise
        return self._handle is not None

    def settle(self, outcome: Outcome, billed: Billing, reply: Reply | None, error: str | None) -> Awaitable[None]:
        """Ends when the end of the attempt is durable: only then does it count."""
        assert self._handle is not None
        seconds = time.monotonic() - self._clock
        attempt = Attempt(self._request, self._started_at, seconds, outcome, billed, reply, error=error)
        return self._journal.settle(self._handle, attempt)

    def _restart_clock(self) -> None:
        self._started_at, self._clock = datetime.now(UTC), time.monotonic()
