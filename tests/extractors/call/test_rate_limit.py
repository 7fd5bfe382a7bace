"""call/rate_limit.py in simulated time: the limiter finds the server's rate, stays at it and follows its changes."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest

from extractors.call.rate_limit import FIRST_RATE, Limits, RateLimiter
from extractors.core.errors import Stopped

NO_LIMIT = 10**9


@pytest.mark.parametrize("latency", [0.2, 1.0])
def test_limiter_reaches_the_servers_rate(build_limited_server, drive, latency):
    """At least 19 of the 20 allowed calls per second are used after a ramp of 15 s, and less than 3 % are refused."""
    server = build_limited_server(20, latency=latency)
    drive(server, 80)
    assert server.rate(15, 75) >= 19
    assert server.measure_refused_share(0, 75) < 0.03


def test_limiter_reaches_the_rate_of_a_server_that_refuses_slowly(build_limited_server, drive):
    """A refusal of this server takes as long as an answer."""
    server = build_limited_server(20, refusal_latency=1.0)
    drive(server, 80)
    assert server.rate(20, 75) >= 18
    assert server.measure_refused_share(20, 75) < 0.03


def test_occasional_refusals_do_not_stop_the_ramp(build_limited_server, drive):
    """With 5 % of calls refused at any rate, the rate still grows to at least twice the first rate."""
    server = build_limited_server(NO_LIMIT, latency=0.5, random_refusals=0.05)
    drive(server, 15)
    assert server.rate(8, 13) >= 2 * FIRST_RATE


def test_limiter_follows_a_doubled_limit_within_30_seconds(build_limited_server, drive):
    server = build_limited_server(lambda now: 20 if now < 60 else 40)
    drive(server, 105)
    assert server.rate(90, 100) >= 36


def test_limiter_follows_a_halved_limit_within_5_seconds(build_limited_server, drive):
    server = build_limited_server(lambda now: 40 if now < 60 else 20)
    drive(server, 90)
    assert server.measure_refused_share(65, 85) < 0.03
    assert server.rate(65, 85) >= 14


def test_all_slots_are_used_without_a_limit(build_limited_server, drive):
    """With a latency of 1 s and 128 slots, about 128 calls per second are sent."""
    server = build_limited_server(NO_LIMIT)
    drive(server, 40)
    assert server.rate(15, 35) >= 0.95 * 128


def test_next_run_starts_at_the_sustained_rate(build_limited_server, drive, loop):
    """It has no ramp, and few of its first calls are refused."""
    sustained_rate = drive(build_limited_server(20), 60).sustained_rate
    server = build_limited_server(20)
    start = loop.now
    drive(server, start + 20, rate=sustained_rate)
    assert server.rate(start + 1, start + 15) >= 18
    assert server.measure_refused_share(start, start + 20) < 0.05


def test_run_without_refusals_has_no_sustained_rate(build_limited_server, drive):
    """The rate of a server that never refuses is limited by the run's own calls, so it does not measure the server."""
    assert drive(build_limited_server(NO_LIMIT), 40).sustained_rate is None


def test_unused_rate_does_not_grow(loop):
    """Fewer calls than the rate allows say nothing about the server's limit."""

    async def send_slowly():
        limiter = RateLimiter(Limits(), clock=loop.time)
        for _ in range(60):
            async with limiter.slot(1) as ticket:
                limiter.record_answer(ticket, 1)
            await asyncio.sleep(1)
        return limiter.rate

    assert loop.run_until_complete(send_slowly()) <= 2 * FIRST_RATE


def test_calls_are_sent_at_even_intervals(loop, build_limited_server, drive):
    """At 600 calls per minute, calls are sent 0.1 s apart, without bursts."""
    server = build_limited_server(NO_LIMIT)
    drive(server, 20, limits=Limits(rpm=600), rate=10)
    gaps = [later - earlier for earlier, later in pairwise(sorted(server.answered))]
    assert min(gaps) >= 0.079
    assert max(gaps) <= 0.121


def test_calls_that_are_due_within_20_ms_are_sent_together(build_limited_server, drive):
    """At 400 calls a second, up to nine are sent at once; a second has as many as without."""
    server = build_limited_server(NO_LIMIT, latency=0.1)
    drive(server, 10, limits=Limits(rpm=24_000), rate=400)
    moments = Counter(round(sent, 6) for sent in server.answered)
    assert 5 <= len(server.answered) / len(moments) <= 9
    assert max(moments.values()) <= 9
    assert 390 <= server.rate(2, 9) <= 401


@pytest.mark.parametrize("rpm", [30, 600])
def test_limiter_stays_below_the_request_limit(build_limited_server, drive, rpm):
    """No minute has more calls than `TILEWISE_RPM`, even if the server accepts more."""
    server = build_limited_server(NO_LIMIT, latency=0.1)
    drive(server, 130, limits=Limits(rpm=rpm))
    assert server.rate(60, 120) * 60 <= rpm + 1
    assert server.rate(60, 120) * 60 >= 0.9 * rpm


def test_limiter_stays_below_the_token_limit(build_limited_server, drive):
    """No minute has more tokens than `TILEWISE_TPM`."""
    server = build_limited_server(NO_LIMIT, latency=0.1)
    drive(server, 130, limits=Limits(tpm=60_000), tokens=1000)
    assert server.rate(60, 120) * 60 * 1000 == pytest.approx(60_000, rel=0.05)


@pytest.mark.parametrize(("tokens_used", "delay"), [(500, 0.5), (1000, 1.0), (2000, 2.0)])
def test_next_call_waits_for_the_tokens_really_used(loop, tokens_used, delay):
    """At 1,000 tokens per second, a call estimated at 1,000 tokens delays the next one by the tokens that it used."""

    async def two_calls():
        limiter = RateLimiter(Limits(tpm=60_000), clock=loop.time)
        async with limiter.slot(1000) as ticket:
            limiter.record_answer(ticket, tokens_used)
        async with limiter.slot(1000):
            return loop.now

    assert loop.run_until_complete(two_calls()) == pytest.approx(delay)


def test_refused_call_returns_its_tokens(loop):
    """A refusal is not billed, so the next call does not wait for its tokens."""

    async def two_calls():
        limiter = RateLimiter(Limits(tpm=600), clock=loop.time)
        async with limiter.slot(1000) as ticket:
            limiter.record_refusal(ticket, None)
        async with limiter.slot(1000):
            return loop.now

    assert loop.run_until_complete(two_calls()) < 1


def test_one_refusal_does_not_delay_other_calls(loop):
    """The server's wait applies to the refused call only."""

    async def calls():
        limiter = RateLimiter(Limits(), clock=loop.time)
        async with limiter.slot(1) as ticket:
            limiter.record_refusal(ticket, 60.0)
        async with limiter.slot(1):
            return loop.now

    assert loop.run_until_complete(calls()) < 1


@pytest.mark.parametrize(("answered", "delayed"), [(0, True), (5, False)])
def test_second_of_only_refusals_delays_all_calls(loop, answered, delayed):
    """When no call got through for a second, the limiter sends none before the time that the server named."""

    async def calls():
        limiter = RateLimiter(Limits(), rate=20, clock=loop.time)
        for number in range(30):
            async with limiter.slot(1) as ticket:
                record = (limiter.record_answer, 1) if number % 10 < answered else (limiter.record_refusal, 60.0)
                record[0](ticket, record[1])
        return loop.now

    assert (loop.run_until_complete(calls()) >= 60) is delayed


def test_503_does_not_change_the_rate(loop):
    """A server without capacity says nothing about the rate: it neither falls nor grows."""

    async def send_all():
        limiter = RateLimiter(Limits(), rate=20, clock=loop.time)
        before = limiter.rate
        for _ in range(200):
            async with limiter.slot(1) as ticket:
                limiter.record_no_capacity(ticket)
        return before, limiter.rate

    before, after = loop.run_until_complete(send_all())
    assert after == pytest.approx(before, rel=0.02)


def test_limiter_stays_below_the_concurrency_limit(loop):
    """No more calls are in flight at once than allowed."""
    in_flight = []

    async def call(limiter):
        async with limiter.slot(1) as ticket:
            in_flight.append(1)
            concurrent = len(in_flight)
            await asyncio.sleep(5)
            in_flight.pop()
            limiter.record_answer(ticket, 1)
            return concurrent

    async def send_all():
        limiter = RateLimiter(Limits(concurrency=4), rate=1000, clock=loop.time)
        return max(await asyncio.gather(*(call(limiter) for _ in range(20))))

    assert loop.run_until_complete(send_all()) == 4


def test_stop_ends_all_waits(loop):
    """Calls that wait for the rate, for a slot or for a retry raise at once."""

    async def stop_waiting_calls():
        limiter = RateLimiter(Limits(concurrency=1, rpm=1), clock=loop.time)
        async with limiter.slot(1):
            pass
        waiting = [asyncio.ensure_future(limiter.slot(1).__aenter__()), asyncio.ensure_future(limiter.sleep(300))]
        await asyncio.sleep(1)
        limiter.stop(Stopped("enough"))
        return await asyncio.gather(*waiting, return_exceptions=True), loop.now

    errors, now = loop.run_until_complete(stop_waiting_calls())
    assert [str(error) for error in errors] == ["enough", "enough"]
    assert now == pytest.approx(1)


def test_no_call_is_sent_after_a_stop(loop):
    async def send_late():
        limiter = RateLimiter(Limits(), clock=loop.time)
        limiter.stop(Stopped("enough"))
        async with limiter.slot(1):
            pass

    with pytest.raises(Stopped, match="enough"):
        loop.run_until_complete(send_late())


def test_pause_does_not_change_the_rate(loop):
    """An hour without calls leaves the rate unchanged."""

    async def pause():
        limiter = RateLimiter(Limits(), rate=20, clock=loop.time)
        before = limiter.rate
        await asyncio.sleep(3600)
        return before, limiter.rate

    before, after = loop.run_until_complete(pause())
    assert after == pytest.approx(before, rel=0.1)


@dataclass
class Permits:
    """Permits that allow one call every `gap` seconds."""

    loop: asyncio.AbstractEventLoop
    gap: float
    count: int = 0
    next: float = 0.0

    def wait(self):
        return max(0.0, self.next - self.loop.now)

    def take(self):
        self.count += 1
        self.next = self.loop.now + self.gap

    def warning(self):
        return None


def test_permits_limit_the_learned_rate(loop, build_limited_server, drive):
    """Each call waits for a permit and takes one, and calls delayed by permits do not raise the learned rate."""
    server, permits = build_limited_server(NO_LIMIT, latency=0.1), Permits(loop, gap=0.25)
    limiter = drive(server, 30, permits=permits)
    assert server.rate(5, 25) == pytest.approx(4, rel=0.05)
    assert permits.count == pytest.approx(120, abs=2)
    assert limiter.rate <= 2 * FIRST_RATE


def test_rate_is_learned_with_permits(loop, build_limited_server, drive):
    """Refusals lower the rate as they do without permits."""
    server = build_limited_server(20)
    drive(server, 80, permits=Permits(loop, gap=0.01))
    assert server.rate(15, 75) >= 19
    assert server.measure_refused_share(0, 75) < 0.03


def test_stop_ends_the_wait_for_a_permit(loop):
    """A permit that is never granted does not delay a stop."""

    async def stop_waiting_call():
        limiter = RateLimiter(Limits(), clock=loop.time, permits=Permits(loop, gap=0.0, next=3600.0))
        waiting = asyncio.ensure_future(limiter.slot(1).__aenter__())
        await asyncio.sleep(1)
        limiter.stop(Stopped("enough"))
        return await asyncio.gather(waiting, return_exceptions=True), loop.now

    [error], now = loop.run_until_complete(stop_waiting_call())
    assert str(error) == "enough"
    assert now == pytest.approx(1)
