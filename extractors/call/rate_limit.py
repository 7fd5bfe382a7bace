"""How fast calls are sent: one controller for a process and an endpoint. What it controls is the send rate.

Servers enforce limits per second, sustained traffic raises them, and bursts are throttled; so calls leave evenly, and the
rate follows what the server refuses:

| in a second | the rate |
|---|---|
| nothing was refused | grows, slowly near the rate that was last refused, faster the longer nothing is (as CUBIC's) |
| a call was refused (429) | falls by 5 %, once a burst |
| more than a tenth of the replies were refusals | falls to what was let through |
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

FIRST_RATE = 8.0  # calls a second, doubled every second until something is refused or the calls run out
DROP = 0.95
PLATEAU = 6.0  # seconds from a refusal back to the refused rate; CUBIC's K
SEARCH_REFUSED_SHARE = 0.25  # of what a second has sent so far: a search has gone past the limit
HIGHEST_RATE, LOWEST_RATE = 10_000.0, 0.1
MIN_REPLIES, REFUSED_SHARE = (
    3,
    0.1,
)  # replies that say something about a second; the share of refusals that says the rate is wrong
TICK = 1.0  # seconds over which replies are weighed: the span over which servers enforce their limits
CATCH_UP = 0.02  # seconds of delay that may be made good: a loop wakes late, and a rate must not suffer from it
MIN_WAIT = 1e-6  # seconds; a shorter wait cannot be measured
MIN_USED_SHARE = 0.8  # of the rate: what is not used says nothing about whether more would be let through


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may not pass: calls at once, calls a minute, tokens a minute."""

    concurrency: int = 64
    rpm: float | None = None
    tpm: float | None = None


@dataclass(slots=True)
class Permit:
    """One call's leave to be sent: when it left and how many tokens it took from the allowance."""

    sent_at: float
    tokens: int


class RateLimiter:
    """Gives leave to send, and learns from what became of each call."""

    def __init__(
        self,
        limits: Limits,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        permits: Permits | None = None,
    ) -> None:
        """`rate` is the calls a second that an earlier run sustained; `clock` counts the seconds that asyncio sleeps.

        `permits` are asked before a call leaves, where others send to the same limit.
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
        """Leave to send one call that is expected to take so many tokens, in turn; held until its reply is there.

        Raises what `stop` was given once there is to be no more sending.
        """
        async with self._slots:
            async with self._turn:
                while (wait := self._compute_wait()) > MIN_WAIT:
                    await self.sleep(wait)
                self._raise_if_stopped()
                ticket = self._take(tokens)
            yield ticket

    def record_answer(self, ticket: Permit, tokens: int) -> None:
        """The call was let through and took so many tokens: the difference to the estimate is given back or paid."""
        self._controller.record_reply(self._clock(), ticket.sent_at)
        self._settle(ticket, tokens)

    def record_refusal(self, ticket: Permit, wait: float | None) -> None:
        """The call came too fast (429); the server may say when to come again, in seconds."""
        now = self._clock()
        self._controller.record_refusal(now, ticket.sent_at, wait or 0.0)
        self._settle(ticket, 0)

    def record_no_capacity(self, ticket: Permit) -> None:
        """The server had no room (503): not our rate's fault, and no time to raise it."""
        self._controller.record_hold(self._clock())
        self._settle(ticket, 0)

    def record_lost(self, ticket: Permit) -> None:
        """The outcome of the call is unknown: it says nothing about the rate, and its tokens stay taken."""
        del ticket
        self._controller.record_hold(self._clock())

    def stop(self, error: RunError) -> None:
        """No more calls: who waits, and who comes, is told by this error. Calls on their way are not touched."""
        self._error = self._error or error
        self._stopped.set()

    async def sleep(self, seconds: float) -> None:
        """Waits, but not beyond a stop: then it raises what `stop` was given."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        self._raise_if_stopped()

    @property
    def rate(self) -> float:
        """Calls a second, as of now."""
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
        own = max(self._next_call, self._next_token, self._controller.blocked_until(now)) - now
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
    """The rate as a function of time: pure bookkeeping, told what happened and when."""

    def __init__(self, now: float, rate: float, *, known: bool) -> None:
        """`known`: the rate was sustained before, so there is nothing to find out quickly."""
        self._base = rate  # the rate that the curve comes back to after PLATEAU seconds, or began with
        self._since = now - PLATEAU if known else now  # where the curve's clock began
        self._searching = not known
        self._doubling = TICK  # seconds in which the search doubles the rate: no faster than replies come back
        self._cut_at = self._weighed_at = now - 1.0
        self._cut_from = rate
        self._tick_end = now + TICK
        self._sent = self._replies = self._refusals = self._accepted = self._held = 0
        self._closed_until = self._asked_until = now

    def rate(self, now: float) -> float:
        """Calls a second at this time."""
        self._advance(now)
        return max(LOWEST_RATE, min(self._curve(now), HIGHEST_RATE))

    def record_sent(self, now: float) -> None:
        """A call leaves."""
        self._advance(now)
        self._sent += 1

    def record_reply(self, now: float, sent_at: float) -> None:
        """A reply is there to a call that was let through."""
        self._advance(now)
        self._doubling = max(TICK, now - sent_at)
        self._replies += sent_at > self._weighed_at
        self._accepted += 1

    def record_refusal(self, now: float, sent_at: float, wait: float) -> None:
        """A refusal is there, and the seconds that the server asks this call to wait."""
        self._advance(now)
        self._asked_until = max(self._asked_until, now + wait)
        if sent_at > self._weighed_at:  # else it answers a rate that is no longer sent
            self._replies += 1
            self._refusals += 1
        if self._searching:  # ended by many refusals, not by one; what they let through is the rate to go on from
            if self._refusals >= MIN_REPLIES and self._refusals > self._sent * SEARCH_REFUSED_SHARE:
                self._reduce(now, self._curve(now) * (1 - SEARCH_REFUSED_SHARE))
        elif sent_at > self._cut_at:
            self._reduce(now, self._curve(now))

    def blocked_until(self, now: float) -> float:
        """The time before which no call is sent: what the server asked for in a second of which it refused everything."""
        self._advance(now)
        return self._closed_until

    def record_hold(self, now: float) -> None:
        """No growth in a second that has many of these."""
        self._advance(now)
        self._held += 1

    def sustained_rate(self, now: float) -> float | None:
        """The rate to begin the next run with; None while nothing was refused: then the calls ran out, not the server."""
        self._advance(now)
        return None if self._searching else self._base

    def _curve(self, now: float) -> float:
        elapsed = now - self._since
        if self._searching:
            return self._base * float(2 ** (elapsed / self._doubling))
        return self._base * (1 + (1 - DROP) * ((elapsed - PLATEAU) / PLATEAU) ** 3)

    def _is_crowded(self) -> bool:
        """Whether the server had no room in this second, rather than for a call or two."""
        share = self._held / max(self._sent, self._held, 1)
        return share > 0.5 or (self._held >= MIN_REPLIES and share > REFUSED_SHARE)

    def _reduce(self, now: float, refused_rate: float) -> None:
        self._cut_from = refused_rate
        self._base, self._since, self._cut_at = refused_rate, now, now
        self._searching = False

    def _advance(self, now: float) -> None:
        """Weighs the seconds that have ended."""
        while now >= self._tick_end:
            self._evaluate_tick()
            self._tick_end += TICK
            if now - self._tick_end > 60:  # a long pause has nothing to weigh
                self._since += now - self._tick_end
                self._tick_end = now + TICK

    def _evaluate_tick(self) -> None:
        end = self._tick_end
        # Answers come later than refusals: what is still on its way counts as let through.
        if self._refusals == self._replies >= MIN_REPLIES and not self._accepted:
            self._closed_until = self._asked_until
        share = self._refusals / max(self._replies, self._sent, 1)
        if self._refusals >= MIN_REPLIES and share > REFUSED_SHARE:
            kept = 0.5 if share > 0.5 else 1 - share
            before = self._curve(end) if self._searching else self._cut_from
            self._reduce(end, max(before * kept, LOWEST_RATE))
            self._weighed_at = end
        elif self._is_crowded() or self._sent < MIN_USED_SHARE * TICK * self._curve(end - TICK):
            self._since += TICK  # neither refused nor tried: the curve's clock stands still
        elif self._searching:
            self._base, self._since = self._curve(end), end
        self._sent = self._replies = self._refusals = self._accepted = self._held = 0
