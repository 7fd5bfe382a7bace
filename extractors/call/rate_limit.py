"""Limits the rate at which calls are sent: one controller for a process and an endpoint.

Servers enforce limits per second, sustained traffic raises them, and bursts are throttled; so calls are sent evenly to 20 ms, and
the rate follows the refusals of the server:

| in a second | the rate |
|---|---|
| no call was refused | grows, slowly near the rate that was last refused, and faster with time (as CUBIC's) |
| a call was refused (429) | falls by 5 %, once a burst |
| more than a tenth of the replies were refusals | falls to the rate that was let through |
| more than half | halves; all of them: no call is sent before the time that the server named |
| the server had no room (503) | holds |

Concurrency follows from rate and latency, below its ceiling. CUBIC: RFC 9438, with a rate in place of a window.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from extractors.core import Permits
    from extractors.core.errors import RunError

FIRST_RATE = 8.0  # calls a second, doubled every second until a call is refused or there are no more
DROP = 0.95
PLATEAU = 6.0  # seconds from a refusal back to the refused rate; CUBIC's K
SEARCH_REFUSED_SHARE = 0.25  # refused of the calls sent in a second: the search has passed the limit
HIGHEST_RATE, LOWEST_RATE = 10_000.0, 0.1
# Replies that are enough to evaluate a second, and the share of refusals among them that lowers the rate.
MIN_REPLIES, REFUSED_SHARE = 3, 0.1
TICK = 1.0  # seconds over which replies are evaluated: servers enforce their limits over this span
CATCH_UP = 0.02  # seconds of delay that may be made up for: an event loop wakes late
AHEAD = 0.02  # seconds by which a call may be early: several are sent for one wake-up of the event loop
MIN_WAIT = 1e-6  # seconds; a shorter wait cannot be measured
MIN_USED_SHARE = 0.8  # of the rate: below it, a second does not show whether the server would let more through


@dataclass(frozen=True, slots=True)
class Limits:
    """The ceilings of a run: calls in flight, calls a minute, tokens a minute."""

    concurrency: int = 64
    rpm: float | None = None
    tpm: float | None = None


@dataclass(slots=True)
class Permit:
    """The permit of one call: when it was sent, and how many tokens it took from the allowance."""

    sent_at: float
    tokens: int


class RateLimiter:
    """Gives permits to send, and learns from the outcome of each call."""

    def __init__(
        self,
        limits: Limits,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        permits: Permits | None = None,
    ) -> None:
        """`rate` is the calls a second that an earlier run sustained; `clock` counts the seconds that asyncio sleeps.

        `permits` limit the calls of several processes that share a limit.
        """
        self._limits, self._clock, self._permits = limits, clock, permits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._turn = asyncio.Lock()
        self._stopped = asyncio.Event()
        self._error: RunError | None = None
        self._controller = RateController(clock(), min(rate or FIRST_RATE, self._ceiling), known=rate is not None)
        self._next_call = self._next_token = clock()

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[Permit]:
        """Waits for a permit to send one call that is expected to take this many tokens; it is held until the reply.

        Raises the error that `stop` was given.
        """
        async with self._slots:
            async with self._turn:
                while (wait := self._compute_wait()) > MIN_WAIT:
                    await self.sleep(wait)
                self._raise_if_stopped()
                ticket = self._take(tokens)
            yield ticket

    def record_answer(self, ticket: Permit, tokens: int) -> None:
        """Records a call that was let through and the tokens that it took; the difference to the estimate is settled."""
        self._controller.record_reply(self._clock(), ticket.sent_at)
        self._settle(ticket, tokens)

    def record_refusal(self, ticket: Permit, wait: float | None) -> None:
        """Records a call that was refused for its rate (429), with the seconds that the server asks to wait."""
        now = self._clock()
        self._controller.record_refusal(now, ticket.sent_at, wait or 0.0)
        self._settle(ticket, 0)

    def record_no_capacity(self, ticket: Permit) -> None:
        """Records a call that the server had no capacity for (503): the rate is held."""
        self._controller.record_hold(self._clock())
        self._settle(ticket, 0)

    def record_lost(self, ticket: Permit) -> None:
        """The outcome of the call is unknown: it says nothing about the rate, and its tokens stay taken."""
        del ticket
        self._controller.record_hold(self._clock())

    def stop(self, error: RunError) -> None:
        """Sends no more calls: all that wait for a permit raise this error. Calls in flight go on."""
        self._error = self._error or error
        self._stopped.set()

    async def sleep(self, seconds: float) -> None:
        """Waits, but not beyond a stop: then it raises the error that `stop` was given."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        self._raise_if_stopped()

    @property
    def rate(self) -> float:
        """The current rate, in calls a second."""
        return self._controller.rate(self._clock())

    @property
    def sustained_rate(self) -> float | None:
        """The calls a second that the server lets through; None while it refused nothing, so it is unknown."""
        return self._controller.sustained_rate(self._clock())

    @property
    def _ceiling(self) -> float:
        return self._limits.rpm / 60 if self._limits.rpm else HIGHEST_RATE

    def _compute_wait(self) -> float:
        now = self._clock()
        due = max(self._next_call, self._next_token)
        own = max(due if due - now > AHEAD else now, self._controller.blocked_until(now)) - now
        return max(own, self._permits.wait()) if self._permits else own

    def _take(self, tokens: int) -> Permit:
        now = self._clock()
        rate = min(self._controller.rate(now), self._ceiling)
        self._controller.record_sent(now)
        if self._permits:
            self._permits.take()
        self._next_call = max(self._next_call, now - CATCH_UP) + 1 / rate
        if self._limits.tpm:
            self._next_token = max(self._next_token, now) + tokens * 60 / self._limits.tpm
        return Permit(now, tokens)

    def _settle(self, ticket: Permit, tokens: int) -> None:
        if self._limits.tpm:
            self._next_token += (tokens - ticket.tokens) * 60 / self._limits.tpm

    def _raise_if_stopped(self) -> None:
        if self._error is not None:
            raise self._error


class RateController:
    """The rate as a function of time, computed from the recorded calls without input or output."""

    def __init__(self, now: float, rate: float, *, known: bool) -> None:
        """`known`: the rate was sustained before, so no search for the limit is needed."""
        self._base = rate  # the rate to which the curve returns after PLATEAU seconds, or began with
        self._since = now - PLATEAU if known else now  # where the curve's clock began
        self._searching = not known
        self._doubling = TICK  # seconds in which the search doubles the rate: no faster than replies come back
        self._cut_at = self._weighed_at = now - 1.0
        self._cut_from = rate
        self._tick_end = now + TICK
        self._sent = self._replies = self._refusals = self._accepted = self._held = 0
        self._closed_until = self._asked_until = now

    def rate(self, now: float) -> float:
        """Returns the calls a second at this time."""
        self._advance(now)
        return max(LOWEST_RATE, min(self._curve(now), HIGHEST_RATE))

    def record_sent(self, now: float) -> None:
        """Records a call that is sent."""
        self._advance(now)
        self._sent += 1

    def record_reply(self, now: float, sent_at: float) -> None:
        """Records the reply to a call that was let through."""
        self._advance(now)
        self._doubling = max(TICK, now - sent_at)
        self._replies += sent_at > self._weighed_at
        self._accepted += 1

    def record_refusal(self, now: float, sent_at: float, wait: float) -> None:
        """Records a refusal, and the seconds that the server asks this call to wait."""
        self._advance(now)
        self._asked_until = max(self._asked_until, now + wait)
        if sent_at > self._weighed_at:  # else it answers a rate that is no longer in force
            self._replies += 1
            self._refusals += 1
        if self._searching:  # ended by many refusals, not by one; the rate that was let through is the next one
            if self._refusals >= MIN_REPLIES and self._refusals > self._sent * SEARCH_REFUSED_SHARE:
                self._reduce(now, self._curve(now) * (1 - SEARCH_REFUSED_SHARE))
        elif sent_at > self._cut_at:
            self._reduce(now, self._curve(now))

    def blocked_until(self, now: float) -> float:
        """The time before which no call is sent: what the server asked for in a second of which it refused everything."""
        self._advance(now)
        return self._closed_until

    def record_hold(self, now: float) -> None:
        """Records a call after which the rate should not grow; a second with many of these has no growth."""
        self._advance(now)
        self._held += 1

    def sustained_rate(self, now: float) -> float | None:
        """Returns the rate to begin the next run with; None while no call was refused, so that the limit is unknown."""
        self._advance(now)
        return None if self._searching else self._base

    def _curve(self, now: float) -> float:
        elapsed = now - self._since
        if self._searching:
            return self._base * float(2 ** (elapsed / self._doubling))
        return self._base * (1 + (1 - DROP) * ((elapsed - PLATEAU) / PLATEAU) ** 3)

    def _is_crowded(self) -> bool:
        """Whether the server had no capacity in this second, for more than a call or two."""
        share = self._held / max(self._sent, self._held, 1)
        return share > 0.5 or (self._held >= MIN_REPLIES and share > REFUSED_SHARE)

    def _reduce(self, now: float, refused_rate: float) -> None:
        self._cut_from = refused_rate
        self._base, self._since, self._cut_at = refused_rate, now, now
        self._searching = False

    def _advance(self, now: float) -> None:
        """Evaluates the seconds that have ended."""
        while now >= self._tick_end:
            self._evaluate_tick()
            self._tick_end += TICK
            if now - self._tick_end > 60:  # a long pause has nothing to evaluate
                self._since += now - self._tick_end
                self._tick_end = now + TICK

    def _evaluate_tick(self) -> None:
        end = self._tick_end
        # Answers come later than refusals: calls in flight count as let through.
        if self._refusals == self._replies >= MIN_REPLIES and not self._accepted:
            self._closed_until = self._asked_until
        share = self._refusals / max(self._replies, self._sent, 1)
        if self._refusals >= MIN_REPLIES and share > REFUSED_SHARE:
            kept = 0.5 if share > 0.5 else 1 - share
            before = self._curve(end) if self._searching else self._cut_from
            self._reduce(end, max(before * kept, LOWEST_RATE))
            self._weighed_at = end
        elif self._is_crowded() or self._sent < MIN_USED_SHARE * TICK * self._curve(end - TICK):
            self._since += TICK  # the rate was neither refused nor used: the curve's clock stands still
        elif self._searching:
            self._base, self._since = self._curve(end), end
        self._sent = self._replies = self._refusals = self._accepted = self._held = 0
