"""shutdown.py: signals, the time limit and the drain."""

import asyncio
import os
import signal

import pytest

from extractors.call.rate_limit import Limits, RateLimiter
from extractors.core.errors import Failing, Stopped
from extractors.run.shutdown import Shutdown, StopSwitch


@pytest.fixture
def limiter():
    """A rate limiter without calls."""
    return RateLimiter(Limits())


@pytest.mark.anyio
async def test_first_signal_stops_and_second_cancels_calls(limiter):
    """After the first signal no call starts; the second cancels the calls in flight."""
    notices = []
    with Shutdown(limiter, drain=60, max_time=None, say=notices.append) as shutdown:
        task = asyncio.create_task(asyncio.sleep(3600))
        shutdown.track(task)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        first = (shutdown.error.status, shutdown.error.exit_code, task.cancelled())
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.gather(task, return_exceptions=True)
    assert first == ("stopped", 3, False)
    assert (shutdown.cancelling, task.cancelled()) == (True, True)
    assert "SIGINT" in notices[0]
    assert "60 s" in notices[0]


@pytest.mark.anyio
async def test_calls_in_flight_are_cancelled_after_the_drain(limiter):
    with Shutdown(limiter, drain=0.01, max_time=None, say=print) as shutdown:
        task = asyncio.create_task(asyncio.sleep(3600))
        shutdown.track(task)
        shutdown.stop(Stopped("enough"))
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


@pytest.mark.anyio
async def test_max_time_stops_a_run(limiter):
    with Shutdown(limiter, drain=60, max_time=0.01, say=print), pytest.raises(Stopped, match=r"time limit of 0\.01 s"):
        await limiter.sleep(5)


@pytest.mark.anyio
async def test_first_stop_reason_is_kept(limiter):
    with Shutdown(limiter, drain=60, max_time=None, say=print) as shutdown:
        shutdown.stop(Stopped("first"))
        shutdown.stop(Failing("second"))
    assert str(shutdown.error) == "first"


@pytest.mark.anyio
@pytest.mark.parametrize("before", [True, False], ids=["before its calls", "while it calls"])
async def test_stop_switch_stops_a_run(limiter, before):
    """The first error is kept, also when it came before the switch was connected."""
    switch = StopSwitch()
    with Shutdown(limiter, drain=60, max_time=None, say=print) as shutdown:
        if before:
            switch.stop(Stopped("suspended"))
            assert shutdown.error is None
        switch.connect(shutdown)
        switch.stop(Stopped("suspended" if not before else "again"))
        assert shutdown.error.message == "suspended"
