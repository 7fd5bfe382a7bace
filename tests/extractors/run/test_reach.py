"""reach.py: the price in force, known before a run begins."""

from decimal import Decimal

import pytest

from extractors.config.job import Job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE
from extractors.record.ledger import Ledger
from extractors.run.reach import price_in_force

pytestmark = pytest.mark.anyio


@pytest.fixture
def ledger(tmp_path):
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def asked(daily_budget=None, **fields):
    """A brief for captions, with these fields on top."""
    settings = Settings(model="a/b", base_url=None, api_key="sesame", daily_budget=daily_budget, prices=None)
    return resolve(Job(source="pictures", schema_name="caption", **fields), settings)


@pytest.mark.parametrize("limits", [{}, {"budget": "0.01"}, {"daily_budget": "0.01"}])
async def test_local_reading_is_free_within_any_budget(ledger, limits):
    """Nothing is asked of any server, and 0 is a price that a budget can be held with."""
    assert await price_in_force(asked(offline=True, **limits), ledger) == (FREE, True)


async def test_a_server_that_is_not_there_is_said_before_anything_is_sent(ledger):
    with pytest.raises(ConfigurationError, match=r"endpoint http://127\.0\.0\.1:9/v1/ cannot be reached"):
        await price_in_force(asked(base_url="http://127.0.0.1:9/v1", budget=Decimal(1)), ledger)
