"""Sends an order until it is answered, and notes each attempt: retries around one send, one loop each."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import httpx

from extractors.call import reply as replies
from extractors.call.retries import CallFault, Retries
from extractors.errors import DocumentError, Refused
from extractors.model import Attempt, Billing, Journal, Order, Outcome, Reply, Verdict
from extractors.picture import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.call.reply import Fault
    from extractors.call.traffic import Traffic

    Judge = Callable[[Reply], Verdict]

_MENDS = {
    401: "the key was refused: set TILEWISE_API_KEY or TOGETHER_API_KEY to one that this endpoint accepts",
    402: "the account's spending limit is reached: raise it, then run again; what is done is kept",
    404: "no such model or address: check --model and TILEWISE_BASE_URL",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """One run's way to its endpoint."""

    http: httpx.AsyncClient
    traffic: Traffic
    retries: Retries
    timeout: float = 120.0
    secret: str = field(default="", repr=False)

    async def call(self, order: Order, body: bytes, journal: Journal, judge: Judge) -> tuple[Reply, Verdict]:
        """The answer to this order, whose request is `body`, and its verdict, whatever that is.

        Raises DocumentError when no answer can be had for this document, Refused when none can be had for any.
        """
        try:
            async for attempt in self.retries.policy():
                with attempt:
                    return await self._once(order, body, journal, judge)
        except CallFault as error:
            raise self._raised(error.fault) from None
        raise AssertionError("the policy ends with a return or a fault")

    async def _once(self, order: Order, body: bytes, journal: Journal, judge: Judge) -> tuple[Reply, Verdict]:
        async with self.traffic.slot():
            note = _Note(order, journal)
            try:
                async with asyncio.timeout(self.timeout):
                    response = await self.http.post("chat/completions", content=body)
            except (httpx.HTTPError, aiohttp.ClientError, TimeoutError) as error:
                raise note.lost(*_lost(error)) from None
            except asyncio.CancelledError:
                note.lost("aborted", "the run was stopped while the call was on its way")
                raise
            reply = replies.read(response)
            fault = replies.fault(response, reply)
            if fault:
                note.settle(fault.outcome, "no", reply, self._masked(fault.message))
                raise CallFault(fault)
            verdict = judge(reply)
            note.settle(verdict.outcome, "yes" if reply.usage else "unknown", reply, verdict.errors or None)
            return reply, verdict

    def _raised(self, fault: Fault) -> DocumentError | Refused:
        message = self._masked(fault.message)
        if fault.remedy == "stop":
            return Refused(f"{_MENDS[int(message[:3])]} (the server says: {message})")
        final = fault.remedy == "never"
        return DocumentError(message, kind=fault.outcome, stage="call", final=final)

    def _masked(self, text: str) -> str:
        """The server's words, without the key that some servers repeat."""
        return text.replace(self.secret, "**********") if self.secret else text


def _lost(error: Exception) -> tuple[Outcome, str]:
    """How a call without a reply ended. The aiohttp transport reports a connection that broke as a timeout, too."""
    causes = [error, *([error.__cause__] if isinstance(error.__cause__, aiohttp.ClientError) else [])]
    if isinstance(causes[-1], TimeoutError | httpx.TimeoutException):
        return "timeout", "no whole reply within the time limit"
    return "connection", f"{type(causes[-1]).__name__}: {first_line(error)}"


class _Note:
    """One attempt's entry in the journal: opened before the send, settled once."""

    def __init__(self, order: Order, journal: Journal) -> None:
        self._order, self._journal = order, journal
        self._handle = journal.intend(order)
        self._started_at, self._clock = datetime.now(UTC), time.monotonic()

    def settle(self, outcome: Outcome, billed: Billing, reply: Reply | None, error: str | None) -> None:
        seconds = time.monotonic() - self._clock
        attempt = Attempt(self._order, self._started_at, seconds, outcome, billed, reply, error=error)
        self._journal.settle(self._handle, attempt)

    def lost(self, outcome: Outcome, message: str) -> CallFault:
        """Settles a call without a reply: nobody knows whether it is billed."""
        self.settle(outcome, "unknown", None, message)
        return CallFault(replies.Fault(outcome, "again", message))
