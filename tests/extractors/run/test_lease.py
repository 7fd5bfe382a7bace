"""lease.py: a run belongs to its process while it is under way, and to nobody when that gives up."""

import pytest

from extractors.call.rate_limit import Limits, RateLimiter
from extractors.core.errors import ConfigurationError, LeaseLost, RunError
from extractors.run.lease import Lease
from extractors.run.shutdown import Shutdown

pytestmark = pytest.mark.anyio
TAKEN = "update runs set host = 'elsewhere', pid = 1, lease_until = 9e9"


async def left_with(error, ledger, terms):
    """Has a run under way end with this error."""
    async with Lease(ledger, terms) as lease:
        lease.begins()
        raise error


async def test_a_run_under_way_is_ours(ledger, terms, sql):
    async with Lease(ledger, terms) as lease:
        await lease.renew()
        assert sql("select run, published_at from runs") == [(terms.run, None)]
        assert ledger.runs.abandoned("/out", "slip") == []


async def test_a_run_that_was_published_stays(ledger, terms, sql):
    async with Lease(ledger, terms):
        ledger.runs.end(terms.run)
    assert sql("select count(published_at) from runs") == [(1,)]


@pytest.mark.parametrize("error", [RunError("full"), TypeError("a bug"), KeyboardInterrupt()])
async def test_a_run_that_gave_up_is_free_to_be_taken_over(ledger, terms, error):
    """At once, though its process lives."""
    with pytest.raises(type(error)):
        await left_with(error, ledger, terms)
    assert [each.run for each in ledger.runs.abandoned("/out", "slip")] == [terms.run]


@pytest.mark.parametrize("error", [ConfigurationError("no"), KeyboardInterrupt()])
async def test_a_run_that_could_not_begin_never_began(ledger, terms, sql, error):
    """What was asked for cannot be done, or somebody thought better of it, and nothing was sent."""
    with pytest.raises(type(error)):
        async with Lease(ledger, terms):
            raise error
    assert sql("select * from runs") == []


async def test_a_run_that_was_taken_over_is_told(ledger, terms, sql):
    """Nothing may be published twice: who has lost it stops, and gives nothing back."""
    async with Lease(ledger, terms) as lease:
        sql(TAKEN)
        with pytest.raises(LeaseLost, match="was taken over by another process, as no heartbeat came"):
            await lease.renew()
    ledger.runs.release(terms.run)
    assert sql("select host from runs") == [("elsewhere",)]


async def test_a_lost_lease_pulls_the_brake(ledger, terms):
    """Also one that was lost before there was a brake."""
    with Shutdown(RateLimiter(Limits()), drain=60, max_time=None, say=print) as brake:
        async with Lease(ledger, terms) as lease:
            lease._lose(LeaseLost("gone"))
            lease.begins(brake)
            assert brake.error.message == "gone"
