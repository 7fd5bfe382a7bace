"""call/retry.py: the wait before a failed call is sent again."""

import random

import pytest
import tenacity

from extractors.call.faults import Fault
from extractors.call.retry import CallFault, Retries

pytestmark = pytest.mark.anyio


async def collect_waits(fault, count, **options):
    """The waits before each of `count` retries of a call that always fails with this fault."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        if len(waits) == count:
            raise TimeoutError

    async def fail():
        raise CallFault(fault)

    retries = Retries(attempts=count + 1, random=random.Random(1), **options)
    with pytest.raises((TimeoutError, CallFault, tenacity.RetryError)):
        await retries.run(fail, sleep)
    return waits


async def test_backoff_doubles_up_to_the_longest_wait():
    """Each wait is lengthened at random by up to a quarter."""
    waits = await collect_waits(Fault("server_error", "retry", "500"), 8)
    for seconds, least in zip(waits, (0.5, 1, 2, 4, 8, 16, 30, 30), strict=True):
        assert least <= seconds <= 1.25 * least


async def test_rate_limited_call_without_a_wait_is_retried_soon():
    """The rate limiter has already lowered the rate: eight waits take less than a minute in total."""
    waits = await collect_waits(Fault("rate_limited", "wait", "429"), 8)
    assert sum(waits) < 60


@pytest.mark.parametrize(("remedy", "least"), [("wait", 0.1), ("retry", 0.5)])
async def test_wait_named_by_the_server_is_used(remedy, least):
    """The backoff is not a lower bound for it."""
    waits = await collect_waits(Fault("rate_limited" if remedy == "wait" else "capacity", remedy, "x", wait=0.1), 1)
    assert least <= waits[0] <= 1.25 * least
