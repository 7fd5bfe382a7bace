"""A worker's share of a rate that many workers share: permits leased in blocks, sent evenly; pure bookkeeping and one loop.

A worker holds at most a second of its share. What its share is it learns from the limit: who finds permits lying ready
takes more, who had to wait takes less. While nobody answers, it goes on at a stated rate.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")

HELD_SECONDS = 1.0  # seconds of its share that a worker holds at most: what a kill leaves unused
RESERVE = 0.3  # seconds of its share that are left when it asks for more: an acquire takes hundredths of one
MIN_BLOCK = 5  # permits a block: the server forgets half a permit at every acquire
FIRST_SHARE = 0.25  # of the limit: what a newcomer sends before it knows its share
GROW, GROW_FAST, SHRINK = 1.04, 1.25, 0.95  # what a share is multiplied by: nothing waited for, much lies ready, waited
MAX_GROWTH_SECONDS = 4.0  # seconds of growth at once: at low rates a block lasts long
READY = 0.8  # of what can lie ready: others leave much unused
MIN_SHARE = 0.02  # of the limit: what a share never falls below
USED = 0.8  # of a share: who does not use what it has needs no more
TIMEOUT_SECONDS = 3.0  # seconds after which a server that says nothing is taken for gone
RETRY_SECONDS = 5.0  # seconds between two tries to reach a server that is gone
FALLBACK_SHARE = (
    0.5  # of the last known limit: two is the fewest workers that share one, and each may be as blind as this one
)
POLL_SECONDS = 0.02  # seconds: how late a call may notice that a block has come
CATCH_UP_SECONDS = 0.02  # seconds of delay that may be made good: a loop wakes late


class LimitUnavailableError(Exception):
    """The server did not say how the limit stands, or what it said cannot be used."""


class LimitNotFoundError(LimitUnavailableError):
    """There is no limit of this name."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit as it stands: permits that come back a second, the most that lie ready, how many do not now."""

    rate: float
    size: int
    taken: int = 0
    active: bool = True


class SharedLimit(Protocol):
    """Where a limit is counted. Every method raises UnansweredError."""

    async def read(self) -> Limit:
        """The limit as it stands; its rate and its size are above 0."""

    async def take(self, permits: int) -> bool:
        """Takes so many; False where fewer lie ready."""

    async def give_back(self, permits: int) -> None:
        """Makes so many ready again."""


class LeasedRate:
    """Permits of one worker: counted here, leased by `keep` in the background."""

    def __init__(
        self,
        counter: SharedLimit,
        rate: float,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` is that of the limit, as far as it is known; `clock` counts the seconds that asyncio sleeps."""
        self._counter, self._rate, self._say, self._clock = counter, rate, say, clock
        self._share = rate * FIRST_SHARE
        self._left = self._sent = 0
        self._next = self._granted_at = clock()
        self._low = asyncio.Event()
        self._low.set()
        self._open = self._knows = False
        self._lost_at: float | None = None
        self._lost_for, self._reason, self._blind = 0.0, "", rate * FALLBACK_SHARE

    def wait(self) -> float:
        """Seconds until the next call may leave, or until it is worth asking again; 0 where one may leave now."""
        if self._open:
            return 0.0
        if self._left < 1 and self._lost_at is None:
            return POLL_SECONDS
        return max(0.0, self._next - self._clock())

    def take(self) -> None:
        """A call leaves."""
        pace = self._share if self._lost_at is None else self._blind
        self._next = max(self._next, self._clock() - CATCH_UP_SECONDS) + 1 / pace
        if self._open or self._lost_at is not None:
            return
        self._left -= 1
        self._sent += 1
        if self._left <= self._share * RESERVE:
            self._low.set()

    def warning(self) -> str | None:
        """What a person should know of a run that the server left alone."""
        if not self._reason:
            return None
        lost = self._lost_for + (self._clock() - self._lost_at if self._lost_at is not None else 0.0)
        return f"{self._reason}: for {lost:.0f} s calls left at {self._blind:.3g} a second, whatever others sent"

    @asynccontextmanager
    async def lease_in_background(self) -> AsyncIterator[LeasedRate]:
        """Leases in the background while it is entered, and then gives back what is left; raises a bug only then."""
        keeping = asyncio.create_task(self.keep_leasing(), name="permits")
        keeping.add_done_callback(self._on_leasing_end)
        try:
            yield self
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            await self.give_back()
        if not keeping.cancelled():
            keeping.result()

    def _on_leasing_end(self, keeping: asyncio.Task[None]) -> None:
        if not keeping.cancelled():
            self.fall_back("leasing broke off")

    async def keep_leasing(self) -> None:
        """Leases block after block, each before the last one is used up; for ever."""
        while True:
            await self._low.wait()
            try:
                limit = await self._read()
                if limit.active:
                    await self._lease(limit)
                else:
                    await asyncio.sleep(RETRY_SECONDS)
            except LimitUnavailableError as error:
                self.fall_back(str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def fall_back(self, why: str) -> None:
        """Nothing can be leased: until it can, calls leave at a stated rate. Says so the first time."""
        if self._lost_at is not None:
            return
        self._lost_at, self._open = self._clock(), False
        if self._knows:
            self._blind = min(self._share, self._rate * FALLBACK_SHARE)
        if not self._reason:
            self._reason = f"the rate that workers share was not to be had ({why})"
            self._say(f"{self._reason}: going on at {self._blind:.3g} calls a second")

    async def give_back(self) -> None:
        """Makes ready again what is left unused."""
        left, self._left = self._left, 0
        if left > 0 and self._lost_at is None:
            with suppress(LimitUnavailableError):
                await self._await_server(self._counter.give_back(left))

    async def _read(self) -> Limit:
        limit = await self._await_server(self._counter.read())
        self._open, self._knows = not limit.active, True
        self._share *= limit.rate / self._rate
        self._rate = limit.rate
        if self._lost_at is not None:
            self._share = self._blind
            self._lost_for += self._clock() - self._lost_at
            self._lost_at, self._left, self._sent, self._granted_at = None, 0, 0, self._clock()
        return limit

    async def _lease(self, limit: Limit) -> None:
        """Waits until a block lies ready, and takes it.

        The limit is read before it is asked: an acquire that is denied makes the server forget what had come back
        since the last one, so that workers that ask too early starve each other.
        """
        waited, seen, since = False, limit.taken, self._clock()
        while True:
            block = self._block_size(limit)
            short = block - (limit.size - limit.taken)
            stale = self._clock() - since > limit.size / limit.rate + 1  # some servers do not tell what came back
            if short <= 0 or stale:
                if await self._await_server(self._counter.take(block)):
                    return self._grant(block, limit, waited=waited)
                short, since = block, self._clock()
            waited = True
            self._scale_share(SHRINK, limit)
            jitter = random.uniform(1.0, 1.5)  # noqa: S311 - so that those who wait do not all come at once
            await asyncio.sleep(max(short / limit.rate, POLL_SECONDS) * jitter)
            limit = await self._read()
            if limit.taken != seen:
                seen, since = limit.taken, self._clock()

    def _block_size(self, limit: Limit) -> int:
        """Permits to ask for: so many that a second of the share is held."""
        return min(max(math.ceil(self._share * HELD_SECONDS - self._left), MIN_BLOCK), limit.size)

    def _grant(self, block: int, limit: Limit, *, waited: bool) -> None:
        now = self._clock()
        unused = 0 < self._sent < USED * self._share * (now - self._granted_at)
        if unused and not waited:
            self._scale_share(SHRINK, limit)
        elif not waited:
            growth = GROW_FAST if limit.size - limit.taken > READY * limit.size else GROW
            self._scale_share(growth ** min(max(1.0, now - self._granted_at), MAX_GROWTH_SECONDS), limit)
        self._granted_at, self._sent = now, 0
        self._left += block
        if self._left > self._share * RESERVE:
            self._low.clear()

    def _scale_share(self, factor: float, limit: Limit) -> None:
        self._share = min(max(self._share * factor, limit.rate * MIN_SHARE), limit.rate)

    async def _await_server(self, asked: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await asked
        except TimeoutError:
            raise LimitUnavailableError(f"no answer in {TIMEOUT_SECONDS:.0f} s") from None
