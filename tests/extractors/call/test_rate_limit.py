"""call/rate_limit.py, in simulated time: the rate that the server gives is found, kept and followed."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise

import pytest

from extractors.call.rate_limit import FIRST_RATE, Limits, RateLimiter
from extractors.core.errors import Stopped

NO_LIMIT = 10**9


@pytest.mark.parametrize("latency", [0.2, 1.0])
def test_the_servers_rate_is_used(limited, drive, latency):
    """Of 20 calls a second that the server allows, 19 are used after a ramp of 15 s, and few calls are refused."""
    server = limited(20, latency=latency)
    drive(server, 80)
    assert server.rate(15, 75) >= 19
    assert server.measure_refused_share(0, 75) < 0.03


def test_refusals_that_come_late_are_survived(limited, drive):
    """A server that takes as long to refuse as to answer is found out, too."""
    server = limited(20, refusal_latency=1.0)
    drive(server, 80)
    assert server.rate(20, 75) >= 18
    assert server.measure_refused_share(20, 75) < 0.03


def test_a_few_refusals_do_not_end_the_search(limited, drive):
    """One call in twenty that is refused whatever the rate does not keep a run at the rate that it began with."""
    server = limited(NO_LIMIT, latency=0.5, moods=0.05)
    drive(server, 15)
    assert server.rate(8, 13) >= 2 * FIRST_RATE


def test_a_limit_that_doubles_is_followed_within_30_seconds(limited, drive):
    server = limited(lambda now: 20 if now < 60 else 40)
    drive(server, 105)
    assert server.rate(90, 100) >= 36


def test_a_limit_that_halves_is_followed_within_5_seconds(limited, drive):
    server = limited(lambda now: 40 if now < 60 else 20)
    drive(server, 90)
    assert server.measure_refused_share(65, 85) < 0.03
    assert server.rate(65, 85) >= 14


def test_without_a_limit_the_slots_are_full(limited, drive):
    """With a latency of 1 s and 128 slots, 128 calls a second are sent."""
    server = limited(NO_LIMIT)
    drive(server, 40)
    assert server.rate(15, 35) >= 0.95 * 128


def test_the_sustained_rate_starts_the_next_run(limited, drive, loop):
    """The next run begins near the rate that this one found, without a ramp and without a wave of refusals."""
    learned = drive(limited(20), 60).sustained_rate
    server = limited(20)
    start = loop.now
    drive(server, start + 20, rate=learned)
    assert server.rate(start + 1, start + 15) >= 18
    assert server.measure_refused_share(start, start + 20) < 0.05


def test_a_run_without_refusals_remembers_nothing(limited, drive):
    """What was sent to a server that never refuses was what there was to send, and no measure of the server."""
    assert drive(limited(NO_LIMIT), 40).sustained_rate is None


def test_a_rate_that_is_not_used_does_not_grow(loop):
    """Calls that run out say nothing about what the server would let through."""

    async def few():
        traffic = RateLimiter(Limits(), clock=loop.time)
        for _ in range(60):
            async with traffic.slot(1) as ticket:
                traffic.record_answer(ticket, 1)
            await asyncio.sleep(1)
        return traffic.rate

    assert loop.run_until_complete(few()) <= 2 * FIRST_RATE


def test_calls_leave_evenly(loop, limited, drive):
    """Inside a second there are no bursts: at 600 a minute, calls leave a tenth of a second apart."""
    server = limited(NO_LIMIT)
    drive(server, 20, limits=Limits(rpm=600), rate=10)
    gaps = [later - earlier for earlier, later in pairwise(sorted(server.answered))]
    assert min(gaps) >= 0.079
    assert max(gaps) <= 0.121


@pytest.mark.parametrize("rpm", [30, 600])
def test_a_ceiling_of_requests_is_never_passed(limited, drive, rpm):
    """No minute has more calls than `TILEWISE_RPM`, however much the server would take."""
    server = limited(NO_LIMIT, latency=0.1)
    drive(server, 130, limits=Limits(rpm=rpm))
    assert server.rate(60, 120) * 60 <= rpm + 1
    assert server.rate(60, 120) * 60 >= 0.9 * rpm


def test_a_ceiling_of_tokens_is_never_passed(limited, drive):
    """No minute has more tokens than `TILEWISE_TPM`."""
    server = limited(NO_LIMIT, latency=0.1)
    drive(server, 130, limits=Limits(tpm=60_000), tokens=1000)
    assert server.rate(60, 120) * 60 * 1000 == pytest.approx(60_000, rel=0.05)


@pytest.mark.parametrize(("taken", "waited"), [(500, 0.5), (1000, 1.0), (2000, 2.0)])
def test_the_difference_to_the_estimate_is_given_back_or_paid(loop, taken, waited):
    """At 1,000 tokens a second, a call estimated at 1,000 holds up the next one for what it really took."""

    async def two_calls():
        traffic = RateLimiter(Limits(tpm=60_000), clock=loop.time)
        async with traffic.slot(1000) as ticket:
            traffic.record_answer(ticket, taken)
        async with traffic.slot(1000):
            return loop.now

    assert loop.run_until_complete(two_calls()) == pytest.approx(waited)


def test_a_refused_call_gives_its_tokens_back(loop):
    """A refusal is not billed, so the next call need not wait for its tokens."""

    async def two_calls():
        traffic = RateLimiter(Limits(tpm=600), clock=loop.time)
        async with traffic.slot(1000) as ticket:
            traffic.record_refusal(ticket, None)
        async with traffic.slot(1000):
            return loop.now

    assert loop.run_until_complete(two_calls()) < 1


def test_one_refused_call_does_not_hold_the_others(loop):
    """What the server asks of one call binds that call alone."""

    async def calls():
        traffic = RateLimiter(Limits(), clock=loop.time)
        async with traffic.slot(1) as ticket:
            traffic.record_refusal(ticket, 60.0)
        async with traffic.slot(1):
            return loop.now

    assert loop.run_until_complete(calls()) < 1


@pytest.mark.parametrize(("let_through", "waited"), [(0, True), (5, False)])
def test_a_whole_second_of_refusals_holds_everybody(loop, let_through, waited):
    """When nothing got through in a second, nobody is sent before the time that the server named."""

    async def calls():
        traffic = RateLimiter(Limits(), rate=20, clock=loop.time)
        for number in range(30):
            async with traffic.slot(1) as ticket:
                became = (traffic.record_answer, 1) if number % 10 < let_through else (traffic.record_refusal, 60.0)
                became[0](ticket, became[1])
        return loop.now

    assert (loop.run_until_complete(calls()) >= 60) is waited


def test_a_crowded_server_holds_the_rate(loop):
    """A 503 is not our rate's fault: the rate neither falls nor grows."""

    async def crowded():
        traffic = RateLimiter(Limits(), rate=20, clock=loop.time)
        before = traffic.rate
        for _ in range(200):
            async with traffic.slot(1) as ticket:
                traffic.record_no_capacity(ticket)
        return before, traffic.rate

    before, after = loop.run_until_complete(crowded())
    assert after == pytest.approx(before, rel=0.02)


def test_concurrency_has_a_ceiling(loop):
    """No more calls are on their way at once than allowed."""
    under_way = []

    async def call(traffic):
        async with traffic.slot(1) as ticket:
            under_way.append(1)
            most = len(under_way)
            await asyncio.sleep(5)
            under_way.pop()
            traffic.record_answer(ticket, 1)
            return most

    async def many():
        traffic = RateLimiter(Limits(concurrency=4), rate=1000, clock=loop.time)
        return max(await asyncio.gather(*(call(traffic) for _ in range(20))))

    assert loop.run_until_complete(many()) == 4


def test_who_waits_is_told_of_a_stop(loop):
    """A stop ends every wait at once: for a turn, for a slot, for a retry."""

    async def stopped():
        traffic = RateLimiter(Limits(concurrency=1, rpm=1), clock=loop.time)
        async with traffic.slot(1):
            pass
        waiting = [asyncio.ensure_future(traffic.slot(1).__aenter__()), asyncio.ensure_future(traffic.sleep(300))]
        await asyncio.sleep(1)
        traffic.stop(Stopped("enough"))
        return await asyncio.gather(*waiting, return_exceptions=True), loop.now

    ended, now = loop.run_until_complete(stopped())
    assert [str(error) for error in ended] == ["enough", "enough"]
    assert now == pytest.approx(1)


def test_nothing_is_sent_after_a_stop(loop):
    async def late():
        traffic = RateLimiter(Limits(), clock=loop.time)
        traffic.stop(Stopped("enough"))
        async with traffic.slot(1):
            pass

    with pytest.raises(Stopped, match="enough"):
        loop.run_until_complete(late())


def test_a_long_pause_is_no_growth(loop):
    """An hour without calls leaves the rate where it was."""

    async def paused():
        traffic = RateLimiter(Limits(), rate=20, clock=loop.time)
        before = traffic.rate
        await asyncio.sleep(3600)
        return before, traffic.rate

    before, after = loop.run_until_complete(paused())
    assert after == pytest.approx(before, rel=0.1)


@dataclass
class Permits:
    """Permits that let a call leave every `gap` seconds."""

    loop: asyncio.AbstractEventLoop
    gap: float
    taken: int = 0
    next: float = 0.0

    def wait(self):
        return max(0.0, self.next - self.loop.now)

    def take(self):
        self.taken += 1
        self.next = self.loop.now + self.gap

    def warning(self):
        return None


def test_permits_are_a_ceiling_on_top_of_the_learned_rate(loop, limited, drive):
    """A call waits for its permit, takes one, and the learned rate does not grow on what was held back."""
    server, permits = limited(NO_LIMIT, latency=0.1), Permits(loop, gap=0.25)
    traffic = drive(server, 30, permits=permits)
    assert server.rate(5, 25) == pytest.approx(4, rel=0.05)
    assert permits.taken == pytest.approx(120, abs=2)
    assert traffic.rate <= 2 * FIRST_RATE


def test_the_learned_rate_stays_below_the_permits(loop, limited, drive):
    """What the server refuses is learned as without permits."""
    server = limited(20)
    drive(server, 80, permits=Permits(loop, gap=0.01))
    assert server.rate(15, 75) >= 19
    assert server.measure_refused_share(0, 75) < 0.03


def test_who_waits_for_a_permit_is_told_of_a_stop(loop):
    """Permits that never come hold no run that is to stop."""

    async def stopped():
        traffic = RateLimiter(Limits(), clock=loop.time, permits=Permits(loop, gap=0.0, next=3600.0))
        waiting = asyncio.ensure_future(traffic.slot(1).__aenter__())
        await asyncio.sleep(1)
        traffic.stop(Stopped("enough"))
        return await asyncio.gather(waiting, return_exceptions=True), loop.now

    [error], now = loop.run_until_complete(stopped())
    assert str(error) == "enough"
    assert now == pytest.approx(1)
