"""A server with a rate limit in simulated time, one request, and a journal in memory."""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from extractors.call.rate_limit import Limits, RateLimiter
from extractors.core import CallRequest, LadderStep, Verdict
from extractors.core.tiles import Size


@dataclass
class LimitedServer:
    """Lets `limit(now)` calls per second through, in a sliding window; answers take `latency` seconds."""

    loop: asyncio.AbstractEventLoop
    limit: object
    latency: float = 1.0
    refusal_latency: float = 0.02
    retry_after: float | None = 1.0
    random_refusals: float = 0.0
    answered: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    _window: deque = field(default_factory=deque)
    _dice: random.Random = field(default_factory=lambda: random.Random(5))

    async def call(self):
        """Returns whether the call was let through; a share of `random_refusals` is refused at any rate."""
        now = self.loop.now
        if self._dice.random() < self.random_refusals:
            await asyncio.sleep(self.refusal_latency)
            self.refused.append(now)
            return False
        while self._window and self._window[0] <= now - 1:
            self._window.popleft()
        if len(self._window) >= self.limit(now):
            await asyncio.sleep(self.refusal_latency)
            self.refused.append(now)
            return False
        self._window.append(now)
        await asyncio.sleep(self.latency)
        self.answered.append(now)
        return True

    def rate(self, start, end):
        """Calls per second that were let through, of those sent in this span."""
        return sum(start <= at < end for at in self.answered) / (end - start)

    def measure_refused_share(self, start, end):
        """The share of refused calls among those sent in this span."""
        refused = sum(start <= at < end for at in self.refused)
        return refused / max(1, refused + sum(start <= at < end for at in self.answered))


@pytest.fixture
def build_limited_server(loop):
    """Builds a server with this limit, a number or a function of the time."""

    def make(limit, **options):
        return LimitedServer(loop, limit if callable(limit) else lambda _: limit, **options)

    return make


@pytest.fixture
def drive(loop):
    """Sends calls through a rate limiter for this many simulated seconds, as many at once as there are slots."""

    def run(server, seconds, limits=None, rate=None, tokens=100, permits=None):
        limiter = RateLimiter(limits or Limits(128), rate, clock=loop.time, permits=permits)

        async def document():
            while True:
                async with limiter.slot(tokens) as ticket:
                    if await server.call():
                        limiter.record_answer(ticket, tokens)
                        return
                    limiter.record_refusal(ticket, server.retry_after)
                await asyncio.sleep(1.0)

        async def send():
            running = set()
            while loop.now < seconds:
                while len(running) < 2 * 128:
                    running.add(asyncio.create_task(document()))
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

        loop.run_until_complete(send())
        return limiter

    return run


def build_request(**changes):
    """A request about one image."""
    values = {
        "document": "/in/a.jpg",
        "key": "key",
        "request": "asked",
        "payload_bytes": 2,
        "steps": (LadderStep(1601, Size(500, 400), 1601),),
        "text_tokens": 100,
        "worst_prompt_tokens": 9000,
        "output_tokens": 100,
        "max_tokens": 512,
    }
    return CallRequest(**values | changes)


@dataclass
class MemoryJournal:
    """A journal in memory."""

    intents: int = 0
    attempts: list = field(default_factory=list)

    async def reserve(self, request):
        del request
        self.intents += 1
        return self.intents

    async def settle(self, handle, attempt):
        del handle
        self.attempts.append(attempt)

    @property
    def outcomes(self):
        """The outcome of each attempt, and whether it was billed."""
        return [(attempt.outcome, attempt.billed) for attempt in self.attempts]


@pytest.fixture
def journal():
    """A journal in memory."""
    return MemoryJournal()


@pytest.fixture
def call_request():
    """A request about one image."""
    return build_request()


@pytest.fixture
def judge():
    """Accepts every reply with content."""
    return lambda reply: Verdict("accepted" if reply.content else "empty")
