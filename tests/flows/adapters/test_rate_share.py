"""Workers that lease from one limit, in simulated time; the limit counts as Prefect's server does."""

import asyncio
import math
import random
from bisect import bisect_left
from dataclasses import dataclass, field

import pytest

from extractors.call.rate_limit import Limits, RateLimiter
from flows.adapters.rate_share import RETRY_SECONDS, LeasedRate, Limit, LimitUnavailableError

pytestmark = pytest.mark.slow

RATE = 40


@dataclass
class Counter:
    """A limit as Prefect's server counts it: only whole permits return.

    Each acquire drops the fraction of a permit that has returned; a denied acquire drops the whole ones, too.
    """

    loop: asyncio.AbstractEventLoop
    rate: float = RATE
    size: int = RATE
    active: bool = True
    stalls: float = 0.0  # seconds that every 20th acquire takes
    down: tuple[float, float] = (math.inf, math.inf)
    taken: int = 0
    acquires: int = 0
    leased: int = 0
    returned: int = 0
    updated: float = 0.0

    async def _answers(self):
        if self.down[0] <= self.loop.now < self.down[1]:
            raise LimitUnavailableError("it is down")
        await asyncio.sleep(0.01)

    @property
    def _now(self):
        return max(0, self.taken - math.floor(self.rate * (self.loop.now - self.updated)))

    async def read(self):
        await self._answers()
        return Limit(self.rate, self.size, self._now, self.active)

    async def take(self, permits):
        self.acquires += 1
        await self._answers()
        await asyncio.sleep(self.stalls if self.acquires % 20 == 0 else 0.0)
        granted = self._now + permits <= self.size
        if granted:
            self.taken = self._now + permits
            self.leased += permits
        self.updated = self.loop.now
        return granted

    async def give_back(self, permits):
        await self._answers()
        self.taken, self.updated = max(0, self._now - permits), self.loop.now
        self.returned += permits


@dataclass
class Worker:
    """A process that sends as fast as it may, and the times of its calls."""

    permits: LeasedRate
    messages: list
    sent: list = field(default_factory=list)

    def rate(self, start, end):
        """Calls per second in this span."""
        return sum(start <= at < end for at in self.sent) / (end - start)


@pytest.fixture
def drive(loop):
    """Runs one worker for each span of simulated seconds, and returns the workers."""
    random.seed(7)

    async def work(worker, seconds):
        traffic = RateLimiter(Limits(100), RATE, clock=loop.time, permits=worker.permits)

        async def call():
            async with traffic.slot(1) as ticket:
                worker.sent.append(loop.now)
                await asyncio.sleep(0.5)
                traffic.record_answer(ticket, 1)

        async with worker.permits.lease_in_background():
            running, end = set(), loop.now + seconds
            while loop.now < end:
                running |= {asyncio.create_task(call()) for _ in range(60 - len(running))}
                _, running = await asyncio.wait(running, timeout=end - loop.now, return_when=asyncio.FIRST_COMPLETED)
            [task.cancel() for task in running]
            await asyncio.gather(*running, return_exceptions=True)

    async def all_of(workers, spans):
        await asyncio.gather(*map(work, workers, spans))

    def run(counter, *spans):
        workers = []
        for _ in spans:
            messages = []
            workers.append(Worker(LeasedRate(counter, counter.rate, messages.append, loop.time), messages))
        loop.run_until_complete(all_of(workers, spans))
        return workers

    return run


def sum_rates(workers, start, end):
    """Calls per second of all workers in this span."""
    return sum(worker.rate(start, end) for worker in workers)


def count_peak(workers, start=0.0):
    """The most calls in any one second after this time."""
    times = sorted(at for worker in workers for at in worker.sent if at >= start)
    return max(bisect_left(times, at + 1) - number for number, at in enumerate(times))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_workers_share_one_rate(loop, drive, count):
    """Of 40 calls a second, 36 to 42 are sent in the first minute, and no second has more than 50."""
    workers = drive(Counter(loop), *[62] * count)
    assert 36 <= sum_rates(workers, 0, 60) <= 42
    assert count_peak(workers) <= 1.25 * RATE


def test_two_workers_each_get_three_tenths_of_the_rate(loop, drive):
    """Shares follow from the free permits, not from the order of arrival."""
    workers = drive(Counter(loop), 125, 125)
    assert min(worker.rate(60, 120) for worker in workers) >= 0.3 * RATE


def test_many_workers_share_one_rate_and_none_starves(loop, drive):
    """Sixteen workers at a limit of 40 a second send 34 to 42, and each sends within half a minute."""
    workers = drive(Counter(loop), *[95] * 16)
    assert 34 <= sum_rates(workers, 30, 90) <= 42
    assert min(worker.rate(30, 60) for worker in workers) > 0


def test_calls_of_a_block_are_sent_evenly(loop, drive):
    """In any tenth of a second a single worker sends at most one call more than its even share."""
    [worker] = drive(Counter(loop), 30)
    times = [at for at in worker.sent if at > 20]
    assert max(bisect_left(times, at + 0.1) - number for number, at in enumerate(times)) <= 0.1 * RATE + 1


def test_worker_takes_the_share_of_a_stopped_worker(loop, drive):
    """Ten seconds after one of two workers has stopped, the other sends nine tenths of the rate."""
    counter = Counter(loop)
    _, other = drive(counter, 30, 60)
    assert other.rate(40, 58) >= 0.9 * RATE


def test_stopped_worker_returns_its_unused_permits(loop, drive):
    """Every leased permit was sent or returned."""
    counter = Counter(loop)
    [worker] = drive(counter, 20.3)
    assert counter.leased == len(worker.sent) + counter.returned


def test_worker_holds_at_most_one_second_of_the_rate(loop, drive):
    """A killed worker leaves no more than that unused."""
    counter, returned = Counter(loop), []
    give_back = counter.give_back

    async def record(permits):
        returned.append(permits)
        await give_back(permits)

    counter.give_back = record
    drive(counter, *[20 + number / 10 for number in range(8)])
    assert max(returned) <= RATE


def test_worker_reaches_a_low_rate_within_a_minute(loop, drive):
    """Where a block lasts long, a share grows by the second: a single worker gets all of one call a second."""
    [worker] = drive(Counter(loop, rate=1, size=10), 65)
    assert worker.rate(0, 30) >= 0.5
    assert worker.rate(30, 60) >= 0.95


def test_stalling_server_costs_little(loop, drive):
    """With a stall of 2 s at every 20th acquire workers send at least 34 of 40 calls a second, and none falls back."""
    workers = drive(Counter(loop, stalls=2.0), 125, 125)
    assert 34 <= sum_rates(workers, 5, 120) <= 42
    assert [worker.permits.warning() for worker in workers] == [None, None]


def test_worker_continues_at_half_the_limit_when_the_server_dies(loop, drive):
    """It reports that once, and warns of it at the end."""
    [worker] = drive(Counter(loop, down=(30, 1000)), 95)
    assert worker.rate(35, 95) == pytest.approx(RATE / 2, rel=0.05)
    [message] = worker.messages
    assert message == "the shared rate limit was unavailable (it is down): continuing at 20 calls per second"
    assert worker.permits.warning() == (
        "the shared rate limit was unavailable (it is down): for 65 s this worker sent 20 calls per second,"
        " regardless of other workers"
    )


def test_two_workers_stay_within_the_limit_while_the_server_is_down(loop, drive):
    """Each continues at its share."""
    workers = drive(Counter(loop, down=(30, 90)), 120, 120)
    assert 0.7 * RATE <= sum_rates(workers, 32, 90) <= 1.05 * RATE


def test_worker_leases_again_when_the_server_returns(loop, drive):
    """The loss is reported once, and the warning has the seconds without permits."""
    counter = Counter(loop, down=(30, 45))
    [worker] = drive(counter, 80)
    assert worker.rate(45 + RETRY_SECONDS + 10, 78) >= 0.9 * RATE
    assert counter.leased > 1800
    assert len(worker.messages) == 1
    assert "for 1" in worker.permits.warning()


def test_worker_sends_half_its_setting_when_the_server_is_down_from_the_start(loop, drive):
    """The configured rate is all that the worker knows."""
    [worker] = drive(Counter(loop, down=(0, 1000)), 30)
    assert worker.rate(0, 30) == pytest.approx(RATE / 2, rel=0.05)


@pytest.mark.parametrize(("before", "after"), [(40, 10), (10, 40)])
def test_workers_follow_a_changed_limit(loop, drive, before, after):
    """The limit is read before every block, and calls are still sent evenly."""
    counter = Counter(loop, rate=before, size=before)
    loop.call_at(30, lambda: setattr(counter, "rate", after))
    loop.call_at(30, lambda: setattr(counter, "size", after))
    workers = drive(counter, 45, 45)
    assert sum_rates(workers, 33, 43) == pytest.approx(after, rel=0.2)
    assert count_peak(workers, 33) <= 1.25 * after


def test_inactive_limit_holds_no_call(loop, drive):
    """The worker applies its own rate, without a warning."""
    counter = Counter(loop, rate=10, size=10, active=False)
    [worker] = drive(counter, 30)
    assert worker.rate(5, 30) >= 0.95 * RATE
    assert worker.permits.warning() is None


def test_bug_in_leasing_holds_no_call_and_is_raised_at_the_end(loop, drive):
    """Calls continue at half of the limit, so that paid answers are published before the traceback appears."""

    class BrokenCounter(Counter):
        async def read(self):
            raise TypeError("a bug")

    events = []

    async def lease():
        async with LeasedRate(BrokenCounter(loop), RATE, events.append, loop.time).lease_in_background() as permits:
            await asyncio.sleep(1)
            events.append(permits.wait())

    with pytest.raises(TypeError, match="a bug"):
        loop.run_until_complete(lease())
    assert events == [
        "the shared rate limit was unavailable (leasing failed): continuing at 20 calls per second",
        0.0,
    ]
