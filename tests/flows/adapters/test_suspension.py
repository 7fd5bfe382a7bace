"""What the state of a flow run in Prefect does to the run."""

from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from extractors.run.shutdown import StopSwitch
from flows.adapters.suspension import STOPPING, _check_state


@pytest.fixture
def flow_run_in(prefect_like):
    """Starts a server with one flow run in this state; returns its URL and the flow run's id."""

    def start(kind, name):
        run = {"id": str(uuid4()), "flow_id": str(uuid4()), "name": "parent", "state": {"type": kind, "name": name}}
        return prefect_like(flow_runs=lambda _: run), run["id"]

    return start


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "name", "stops"),
    [
        ("PAUSED", "Suspended", True),
        ("PAUSED", "Paused", True),
        ("RUNNING", STOPPING, True),
        ("RUNNING", "Running", False),
        ("SCHEDULED", "Resuming", False),
    ],
)
async def test_shard_stops_with_its_suspended_parent(flow_run_in, kind, name, stops):
    """A shard also stops when its parent is stopping, and for no other state."""
    switch, (url, run) = StopSwitch(), flow_run_in(kind, name)
    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            await _check_state(client, run, switch, own=False)
    assert (switch.error is not None) is stops
