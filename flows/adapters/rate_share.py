"""The share of one worker in a rate that many workers share: permits are leased in blocks and used evenly.

A worker holds at most one second of its share. It adapts the share to the limit: it grows while permits are available, and
shrinks when the worker had to wait. While the server does not answer, a fallback rate applies.
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

HELD_SECONDS = 1.0  # maximum seconds of its share that a worker holds: permits that a kill leaves unused
RESERVE = 0.3  # seconds of its share that are left when it leases more: an acquire takes hundredths of a second
MIN_BLOCK = 5  # permits per block: the server loses half a permit at every acquire
FIRST_SHARE = 0.25  # of the limit: the share of a new worker
GROW, GROW_FAST, SHRINK = 1.04, 1.25, 0.95  # factors of the share: no wait, many permits available, waited
MAX_GROWTH_SECONDS = 4.0  # maximum seconds of growth at once: at low rates a block lasts long
READY = 0.8  # of the size: from this on, many permits are available
MIN_SHARE = 0.02  # of the limit: minimum of a share
USED = 0.8  # of a share: a worker that uses less than this gets no more
TIMEOUT_SECONDS = 3.0  # of a request to the server
RETRY_SECONDS = 5.0  # between two requests to a server that does not answer
FALLBACK_SHARE = 0.5  # of the last known limit: at least two workers share it, and both may have lost the server
POLL_SECONDS = 0.02  # until a waiting call notices a new block
CATCH_UP_SECONDS = 0.02  # of delay that later calls may catch up: an event loop wakes late


class LimitUnavailableError(Exception):
    """The server did not answer, or its answer cannot be used."""


class LimitNotFoundError(LimitUnavailableError):
    """No limit of this name exists."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The state of a rate limit: permits per second, the maximum available at once, and how many are taken."""

    rate: float
    size: int
    taken: int = 0
    active: bool = True


class SharedLimit(Protocol):
    """A limit that is counted on a server. Every method raises LimitUnavailableError."""

    async def read(self) -> Limit:
        """Reads the state of the limit; its rate and its size are above 0."""

    async def take(self, permits: int) -> bool:
        """Takes this number of permits; False if fewer are available."""

    async def give_back(self, permits: int) -> None:
        """Returns this number of permits."""


class LeasedRate:
    """Permits of one worker: counted here, leased by `keep_leasing` in the background."""

    def __init__(
        self,
        counter: SharedLimit,
        rate: float,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` is that of the limit, if it is known; `clock` counts the seconds of the event loop."""
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
        """Seconds until the next call may start, or until the next check; 0 if a call may start now."""
        if self._open:
            return 0.0
        if self._left < 1 and self._lost_at is None:
            return POLL_SECONDS
        return max(0.0, self._next - self._clock())

    def take(self) -> None:
        """Counts one call."""
        pace = self._share if self._lost_at is None else self._blind
        self._next = max(self._next, self._clock() - CATCH_UP_SECONDS) + 1 / pace
        if self._open or self._lost_at is not None:
            return
        self._left -= 1
        self._sent += 1
        if self._left <= self._share * RESERVE:
            self._low.set()

    def warning(self) -> str | None:
        """A warning if the server did not answer for some time."""
        if not self._reason:
            return None
        lost = self._lost_for + (self._clock() - self._lost_at if self._lost_at is not None else 0.0)
        return f"{self._reason}: for {lost:.0f} s this worker sent {self._blind:.3g} calls per second, regardless of other workers"

    @asynccontextmanager
    async def lease_in_background(self) -> AsyncIterator[LeasedRate]:
        """Leases in the background inside the context, and returns unused permits at its end."""
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
            self.fall_back("leasing failed")

    async def keep_leasing(self) -> None:
        """Leases block after block, each before the previous one is used up, without end."""
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
        """Switches to the fallback rate until the server answers again; notifies the first time."""
        if self._lost_at is not None:
            return
        self._lost_at, self._open = self._clock(), False
        if self._knows:
            self._blind = min(self._share, self._rate * FALLBACK_SHARE)
        if not self._reason:
            self._reason = f"the shared rate limit was unavailable ({why})"
            self._say(f"{self._reason}: continuing at {self._blind:.3g} calls per second")

    async def give_back(self) -> None:
        """Returns unused permits to the server."""
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
        """Waits until a block is available, and takes it.

        The limit is read first: a denied acquire makes the server drop the permits that were regained since the
        previous one, so that workers that acquire too early starve each other.
        """
        waited, seen, since = False, limit.taken, self._clock()
        while True:
            block = self._block_size(limit)
            short = block - (limit.size - limit.taken)
            stale = self._clock() - since > limit.size / limit.rate + 1  # some servers do not report regained permits
            if short <= 0 or stale:
                if await self._await_server(self._counter.take(block)):
                    return self._grant(block, limit, waited=waited)
                short, since = block, self._clock()
            waited = True
            self._scale_share(SHRINK, limit)
            jitter = random.uniform(1.0, 1.5)  # noqa: S311 - so that waiting workers do not retry together
            await asyncio.sleep(max(short / limit.rate, POLL_SECONDS) * jitter)
            limit = await self._read()
            if limit.taken != seen:
                seen, since = limit.taken, self._clock()

    def _block_size(self, limit: Limit) -> int:
        """The number of permits to lease, so that one second of the share is held."""
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

    async def _await_server(self, request: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await request
        except TimeoutError:
            raise LimitUnavailableError(f"no answer in {TIMEOUT_SECONDS:.0f} s") from None
