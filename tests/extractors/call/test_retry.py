"""call/retry.py: how long a failed call waits before it is sent again."""

import random

import pytest
import tenacity

from extractors.call.faults import Fault
from extractors.call.retry import CallFault, Retries

pytestmark = pytest.mark.anyio


async def waits(fault, count, **options):
    """The waits before each of this many retries of a call that fails so every time."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == count:
            raise TimeoutError

    async def fail():
        raise CallFault(fault)

    retries = Retries(attempts=count + 1, random=random.Random(1), **options)
    with pytest.raises((TimeoutError, CallFault, tenacity.RetryError)):
        await retries.run(fail, sleep)
    return slept


async def test_backoff_doubles_up_to_its_longest():
    """Each is spread by up to a quarter."""
    slept = await waits(Fault("server_error", "retry", "500"), 8)
    for seconds, least in zip(slept, (0.5, 1, 2, 4, 8, 16, 30, 30), strict=True):
        assert least <= seconds <= 1.25 * least


async def test_refusal_for_rate_without_a_wait_is_tried_again_soon():
    """The rate limiter has lowered the rate: eight refusals take less than a minute."""
    slept = await waits(Fault("rate_limited", "wait", "429"), 8)
    assert sum(slept) < 60


@pytest.mark.parametrize(("remedy", "least"), [("wait", 0.1), ("retry", 0.5)])
async def test_servers_wait_is_kept(remedy, least):
    """A refusal for rate has no backoff as its minimum."""
    slept = await waits(Fault("rate_limited" if remedy == "wait" else "capacity", remedy, "x", wait=0.1), 1)
    assert least <= slept[0] <= 1.25 * least
