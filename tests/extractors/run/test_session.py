"""session.py: the lease of a run, and its price before the first call."""

from decimal import Decimal

import pytest

from extractors.call.rate_limit import Limits, RateLimiter
from extractors.config.job import Job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core.errors import ConfigurationError, LeaseLost, RunError
from extractors.core.money import FREE
from extractors.run.session import Lease, price_in_force
from extractors.run.shutdown import Shutdown

pytestmark = pytest.mark.anyio
TAKEN = "update runs set host = 'elsewhere', pid = 1, lease_until = 9e9"


async def fail_after_calls_began(error, ledger, terms):
    """Raises this error in a run whose calls have begun."""
    async with Lease(ledger, terms) as lease:
        lease.begin_calls()
        raise error


async def test_lease_keeps_a_run_from_recovery(ledger, terms, sql):
    async with Lease(ledger, terms) as lease:
        await lease.renew()
        assert sql("select run, published_at from runs") == [(terms.run, None)]
        assert ledger.runs.list_abandoned("/out", "slip") == []


async def test_published_run_stays_in_the_ledger(ledger, terms, sql):
    async with Lease(ledger, terms):
        ledger.runs.finish(terms.run)
    assert sql("select count(published_at) from runs") == [(1,)]


@pytest.mark.parametrize("error", [RunError("full"), TypeError("a bug"), KeyboardInterrupt()])
async def test_run_that_failed_after_calls_began_can_be_recovered_at_once(ledger, terms, error):
    """Its process is still live."""
    with pytest.raises(type(error)):
        await fail_after_calls_began(error, ledger, terms)
    assert [run_info.run for run_info in ledger.runs.list_abandoned("/out", "slip")] == [terms.run]


@pytest.mark.parametrize("error", [ConfigurationError("no"), KeyboardInterrupt()])
async def test_run_that_failed_before_calls_is_removed(ledger, terms, sql, error):
    """No call was made, so there is nothing to recover."""
    with pytest.raises(type(error)):
        async with Lease(ledger, terms):
            raise error
    assert sql("select * from runs") == []


async def test_renew_raises_when_another_process_has_the_run(ledger, terms, sql):
    """The run that lost its lease stops and does not release the run, so that nothing is published twice."""
    async with Lease(ledger, terms) as lease:
        sql(TAKEN)
        with pytest.raises(LeaseLost, match="was taken over by another process, as no heartbeat came"):
            await lease.renew()
    ledger.runs.release(terms.run)
    assert sql("select host from runs") == [("elsewhere",)]


async def test_lease_lost_before_calls_stops_the_run(ledger, terms):
    with Shutdown(RateLimiter(Limits()), drain=60, max_time=None, say=print) as shutdown:
        async with Lease(ledger, terms) as lease:
            lease._lose(LeaseLost("gone"))
            lease.begin_calls(shutdown)
            assert shutdown.error.message == "gone"


def caption_config(daily_budget=None, **fields):
    """The configuration of a caption job with these fields."""
    settings = Settings(model="a/b", base_url=None, api_key="sesame", daily_budget=daily_budget, prices=None)
    return resolve(Job(source="pictures", schema_name="caption", **fields), settings)


@pytest.mark.parametrize("limits", [{}, {"budget": "0.01"}, {"daily_budget": "0.01"}])
async def test_offline_price_is_free_with_any_budget(ledger, limits):
    """No server is asked for a price, and a price of 0 can be held against a budget."""
    assert await price_in_force(caption_config(offline=True, **limits), ledger) == (FREE, True)


async def test_unreachable_endpoint_is_a_configuration_error(ledger):
    with pytest.raises(ConfigurationError, match=r"endpoint http://127\.0\.0\.1:9/v1/ cannot be reached"):
        await price_in_force(caption_config(base_url="http://127.0.0.1:9/v1", budget=Decimal(1)), ledger)
