"""Sends an order until it is answered, and notes each attempt: retries around one send, one loop each."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import aiohttp
import httpx

from extractors.call import faults
from extractors.call import response as replies
from extractors.call.retry import CallFault, Retries
from extractors.core import Attempt, Billing, CallRequest, Journal, Outcome, Reply, Verdict
from extractors.core.errors import DocumentError, Refused, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from extractors.call.circuit_breaker import CircuitBreaker
    from extractors.call.faults import Fault
    from extractors.call.rate_limit import Permit, RateLimiter

    Judge = Callable[[Reply], Verdict]

MIN_SECRET_CHARS = 12  # characters: what signs is longer
BUDGET_POLL_SECONDS = 0.2  # between two looks whether calls on their way have left room in the budget
_REMEDIES = {
    401: "the key was refused: set TILEWISE_API_KEY or TOGETHER_API_KEY to one that this endpoint accepts",
    402: "the account's spending limit is reached: raise it, then run again",
    404: "no such model or address: check --model and TILEWISE_BASE_URL",
}


class ChatClient:
    """One run's way to its endpoint."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        limiter: RateLimiter,
        retries: Retries,
        breaker: CircuitBreaker,
        *,
        timeout: float = 120.0,
        secret: str = "",
    ) -> None:
        """`timeout` is the seconds that a call may take in all; `secret` is the key, to be kept out of every word."""
        self.http, self.limiter, self.retries, self.breaker = http, limiter, retries, breaker
        self._timeout, self._secret = timeout, secret
        self._url = http.base_url.join("chat/completions")  # parsed once, not for every call

    async def call(
        self, request: CallRequest, body: bytes, journal: Journal, judge: Judge, spent: int = 0
    ) -> tuple[Reply, Verdict]:
        """The answer to this order, whose request is `body`, and its verdict, whatever that is.

        `spent` is how many of the document's attempts earlier orders have used up.

        Raises DocumentError when no answer can be had for this document, a RunError when none can be had for any.
        """
        try:
            async for attempt in self.retries.build_policy(self.limiter.sleep, spent):
                with attempt:
                    return await self._send_once(request, body, journal, judge)
        except CallFault as error:
            raise self._make_document_error(error.fault) from None
        raise AssertionError("the policy ends with a return or a fault")

    async def _send_once(
        self, request: CallRequest, body: bytes, journal: Journal, judge: Judge
    ) -> tuple[Reply, Verdict]:
        async with self.limiter.slot(request.tokens) as ticket:
            note = _CallRecord(request, journal)
            while not await note.reserve():
                await self.limiter.sleep(BUDGET_POLL_SECONDS)
            try:
                reply, fault = await self._exchange(body, self._collect_secrets(request))
            except (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError) as error:
                reply, fault = None, faults.classify_error(error)
            except asyncio.CancelledError:
                await note.settle("aborted", "unknown", None, "the run was stopped while the call was on its way")
                raise
            if fault is not None or reply is None:
                assert fault is not None
                await note.settle(fault.outcome, fault.billed, reply, self._mask(fault.full_message))
                self._handle_failure(fault, ticket)
                raise CallFault(fault)
            verdict = judge(reply)
            billed: Billing = "yes" if reply.usage else "unknown"
            await self._finish_settling(note.settle(verdict.outcome, billed, reply, verdict.errors or None), verdict)
            self.breaker.record_answer()
            self.limiter.record_answer(
                ticket, reply.usage.prompt + reply.usage.completion if reply.usage else ticket.tokens
            )
            return reply, verdict

    async def _exchange(self, body: bytes, secrets: Sequence[str]) -> tuple[Reply, Fault | None]:
        """One request and its reply, within the time limit, and no more of it than an answer can have."""
        async with (
            asyncio.timeout(self._timeout),
            self.http.stream("POST", self._url, content=body) as response,
        ):
            content = bytearray()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > replies.MAX_REPLY_BYTES:
                    break
            whole = len(content) <= replies.MAX_REPLY_BYTES
            reply, fault = replies.parse_response(response, _mask_secrets(bytes(content), secrets), whole=whole)
            return replace(reply, request_id=reply.request_id and self._mask(reply.request_id)), fault

    @staticmethod
    async def _finish_settling(settling: Coroutine[None, None, None], verdict: Verdict) -> None:
        """Waits for the note. A cut in this moment must not lose a document that is accepted and paid for."""
        waiting = asyncio.ensure_future(settling)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            await waiting
            if verdict.outcome != "accepted":
                raise

    def _handle_failure(self, fault: Fault, ticket: Permit) -> None:
        """Tells traffic and breaker. Raises what stops the run, if this fault does."""
        match fault.outcome:
            case "rate_limited":
                self.limiter.record_refusal(ticket, fault.wait)
            case "capacity":
                self.limiter.record_no_capacity(ticket)
            case "timeout" | "connection":
                self.limiter.record_lost(ticket)
            case _:
                self.limiter.record_answer(ticket, 0)
        if fault.remedy == "stop":
            message = self._mask(fault.message)
            mend = _REMEDIES.get(int(message[:3]), "nothing is answered at this address: check TILEWISE_BASE_URL")
            raise Refused(f"{mend} (the server says: {message})")
        stops = self.breaker.record_failure(fault)
        if stops:
            raise stops

    def _make_document_error(self, fault: Fault) -> DocumentError:
        final = fault.remedy == "never" and (fault.outcome != "context_exceeded" or self.breaker.trusted)
        kept, public = self._mask(fault.full_message), self._mask(fault.message)
        return DocumentError(kept, kind=fault.outcome, stage="call", final=final, public=public, refusal=fault.refusal)

    def _collect_secrets(self, request: CallRequest) -> list[str]:
        """What must not be kept of a reply: the key, and the signatures of the URLs that were passed on."""
        signatures = [value for link in request.links for value in _find_signatures(link.get_secret_value())]
        return [self._secret, *signatures] if self._secret else signatures

    def _mask(self, text: str) -> str:
        """The server's words, without the key that some servers repeat."""
        return text.replace(self._secret, "**********") if self._secret else text


def _mask_secrets(content: bytes, secrets: Sequence[str]) -> bytes:
    """The reply without these: it is kept in the ledger and published."""
    for secret in secrets:
        content = content.replace(secret.encode(), b"**********")
    return content


def _find_signatures(link: str) -> set[str]:
    """A URL's user and password, and the values in its query that are long enough to sign something.

    As they are written and as they are meant.
    """
    parts = urlsplit(link)
    written = [pair.partition("=")[2] for pair in parts.query.split("&")]
    meant = [unquote(each) for each in written]
    in_json = [each.replace("/", "\\/") for each in meant]
    user, at, _ = parts.netloc.rpartition("@")
    return {value for value in (*written, *meant, *in_json) if len(value) >= MIN_SECRET_CHARS} | ({user + at} - {""})


class _CallRecord:
    """One attempt's entry in the journal: opened before the send, settled once."""

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

    async def settle(self, outcome: Outcome, billed: Billing, reply: Reply | None, error: str | None) -> None:
        """Returns when the end of the attempt is durable: only then does it count."""
        assert self._handle is not None
        seconds = time.monotonic() - self._clock
        attempt = Attempt(self._request, self._started_at, seconds, outcome, billed, reply, error=error)
        await self._journal.settle(self._handle, attempt)

    def _restart_clock(self) -> None:
        self._started_at, self._clock = datetime.now(UTC), time.monotonic()
