"""share: workers that lease from one limit, in simulated time; the limit counts as Prefect's server does."""

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
    """A limit as Prefect's server counts it: whole permits come back, and any acquire forgets the part of one.

    So does a denied one, which forgets the whole ones, too.
    """

    loop: asyncio.AbstractEventLoop
    rate: float = RATE
    size: int = RATE
    active: bool = True
    stalls: float = 0.0  # seconds that every 20th acquire takes
    down: tuple[float, float] = (math.inf, math.inf)
    taken: int = 0
    asked: int = 0
    given: int = 0
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
        self.asked += 1
        await self._answers()
        await asyncio.sleep(self.stalls if self.asked % 20 == 0 else 0.0)
        granted = self._now + permits <= self.size
        if granted:
            self.taken = self._now + permits
            self.given += permits
        self.updated = self.loop.now
        return granted

    async def give_back(self, permits):
        await self._answers()
        self.taken, self.updated = max(0, self._now - permits), self.loop.now
        self.returned += permits


@dataclass
class Worker:
    """A process that sends as fast as it may; the times at which its calls left."""

    permits: LeasedRate
    said: list
    sent: list = field(default_factory=list)

    def rate(self, start, end):
        """Calls a second in this span."""
        return sum(start <= at < end for at in self.sent) / (end - start)


@pytest.fixture
def drive(loop):
    """Lets so many workers send for so many simulated seconds; each goes after `lasts` seconds, if given."""
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
            [each.cancel() for each in running]
            await asyncio.gather(*running, return_exceptions=True)

    async def all_of(workers, spans):
        await asyncio.gather(*map(work, workers, spans))

    def run(counter, *spans):
        workers = []
        for _ in spans:
            said = []
            workers.append(Worker(LeasedRate(counter, counter.rate, said.append, loop.time), said))
        loop.run_until_complete(all_of(workers, spans))
        return workers

    return run


def together(workers, start, end):
    """Calls a second of all workers in this span."""
    return sum(each.rate(start, end) for each in workers)


def worst(workers, start=0.0):
    """The most calls that left in any one second after this time."""
    times = sorted(at for each in workers for at in each.sent if at >= start)
    return max(bisect_left(times, at + 1) - number for number, at in enumerate(times))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_workers_share_one_rate(loop, drive, count):
    """Of 40 a second, 36 to 42 are sent in the first minute, and no second has more than 50."""
    workers = drive(Counter(loop), *[62] * count)
    assert 36 <= together(workers, 0, 60) <= 42
    assert worst(workers) <= 1.25 * RATE


def test_two_workers_get_about_the_same(loop, drive):
    """A share follows from what lies ready, not from who came first."""
    workers = drive(Counter(loop), 125, 125)
    assert min(each.rate(60, 120) for each in workers) >= 0.3 * RATE


def test_many_workers_share_one_rate_and_none_starves(loop, drive):
    """Sixteen on a limit of 40 a second send between 34 and 42, and everybody gets something in half a minute."""
    workers = drive(Counter(loop), *[95] * 16)
    assert 34 <= together(workers, 30, 90) <= 42
    assert min(each.rate(30, 60) for each in workers) > 0


def test_calls_of_a_block_leave_evenly(loop, drive):
    """A block is not sent as a burst: a worker alone sends at most one call more than evenly in a tenth of a second."""
    [worker] = drive(Counter(loop), 30)
    times = [at for at in worker.sent if at > 20]
    assert max(bisect_left(times, at + 0.1) - number for number, at in enumerate(times)) <= 0.1 * RATE + 1


def test_what_one_worker_leaves_the_other_takes(loop, drive):
    """Ten seconds after one of two workers has gone, the other sends nine tenths of the rate."""
    counter = Counter(loop)
    _, stayed = drive(counter, 30, 60)
    assert stayed.rate(40, 58) >= 0.9 * RATE


def test_a_worker_that_stops_gives_back_what_it_has_left(loop, drive):
    """What was leased was sent or given back, all of it."""
    counter = Counter(loop)
    [worker] = drive(counter, 20.3)
    assert counter.given == len(worker.sent) + counter.returned


def test_a_worker_holds_a_second_of_its_share_at_most(loop, drive):
    """So a kill leaves no more than that unused."""
    counter, held = Counter(loop), []
    give_back = counter.give_back

    async def note(permits):
        held.append(permits)
        await give_back(permits)

    counter.give_back = note
    drive(counter, *[20 + number / 10 for number in range(8)])
    assert max(held) <= RATE


def test_a_low_rate_is_found_within_a_minute(loop, drive):
    """Where a block lasts long, a share grows by seconds, not by blocks: alone on one call a second, all of it."""
    [worker] = drive(Counter(loop, rate=1, size=10), 65)
    assert worker.rate(0, 30) >= 0.5
    assert worker.rate(30, 60) >= 0.95


def test_a_server_that_stalls_costs_little(loop, drive):
    """A stall of 2 s at every 20th acquire leaves nine tenths of the rate, and nobody falls back."""
    workers = drive(Counter(loop, stalls=2.0), 125, 125)
    assert 34 <= together(workers, 5, 120) <= 42
    assert [each.permits.warning() for each in workers] == [None, None]


def test_a_server_that_dies_leaves_half_of_the_limit(loop, drive):
    """A worker alone goes on at half of the limit last known, says so at once and once, and warns of it in the end."""
    [worker] = drive(Counter(loop, down=(30, 1000)), 95)
    assert worker.rate(35, 95) == pytest.approx(RATE / 2, rel=0.05)
    [words] = worker.said
    assert words == "the shared rate limit was unavailable (it is down): continuing at 20 calls per second"
    assert worker.permits.warning() == (
        "the shared rate limit was unavailable (it is down): for 65 s this worker sent 20 calls per second,"
        " regardless of other workers"
    )


def test_two_workers_stay_within_the_limit_while_the_server_is_gone(loop, drive):
    """Each goes on at its share, so that together they send no more than the limit."""
    workers = drive(Counter(loop, down=(30, 90)), 120, 120)
    assert 0.7 * RATE <= together(workers, 32, 90) <= 1.05 * RATE


def test_a_server_that_comes_back_is_found(loop, drive):
    """The permits count again; the time without them is in the warning, and a second loss is not said again."""
    counter = Counter(loop, down=(30, 45))
    [worker] = drive(counter, 80)
    assert worker.rate(45 + RETRY_SECONDS + 10, 78) >= 0.9 * RATE
    assert counter.given > 1800
    assert len(worker.said) == 1
    assert "for 1" in worker.permits.warning()


def test_a_server_that_is_down_from_the_start_leaves_half_of_what_is_set(loop, drive):
    """The rate that a worker was given is all that it knows."""
    [worker] = drive(Counter(loop, down=(0, 1000)), 30)
    assert worker.rate(0, 30) == pytest.approx(RATE / 2, rel=0.05)


@pytest.mark.parametrize(("before", "after"), [(40, 10), (10, 40)])
def test_a_limit_that_a_person_changes_is_followed(loop, drive, before, after):
    """From the next block on, as it is read before every one, and evenly all the same."""
    counter = Counter(loop, rate=before, size=before)
    loop.call_at(30, lambda: setattr(counter, "rate", after))
    loop.call_at(30, lambda: setattr(counter, "size", after))
    workers = drive(counter, 45, 45)
    assert together(workers, 33, 43) == pytest.approx(after, rel=0.2)
    assert worst(workers, 33) <= 1.25 * after


def test_a_limit_that_is_switched_off_holds_nobody_back(loop, drive):
    """A person's will: then the run's own rate counts."""
    counter = Counter(loop, rate=10, size=10, active=False)
    [worker] = drive(counter, 30)
    assert worker.rate(5, 30) >= 0.95 * RATE
    assert worker.permits.warning() is None


def test_a_bug_in_leasing_holds_no_call_and_is_raised_in_the_end(loop, drive):
    """Calls go on at half of the limit: what was paid for is published before anybody reads the traceback."""

    class Broken(Counter):
        async def read(self):
            raise TypeError("a bug")

    told = []

    async def broken():
        async with LeasedRate(Broken(loop), RATE, told.append, loop.time).lease_in_background() as permits:
            await asyncio.sleep(1)
            told.append(permits.wait())

    with pytest.raises(TypeError, match="a bug"):
        loop.run_until_complete(broken())
    assert told == [
        "the shared rate limit was unavailable (leasing failed): continuing at 20 calls per second",
        0.0,
    ]
