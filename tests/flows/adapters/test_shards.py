"""What the state of a shard's flow run means for the run in shards."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Crashed, Failed, Pending, Running, Scheduled

from extractors.core.errors import ConfigurationError
from flows.adapters.shards import ATTEMPT_TIMEOUT, REFUSED, START_TIMEOUT, PrefectShards, _exit_of

LONG_AGO = datetime.now(UTC) - START_TIMEOUT - timedelta(seconds=1)


@pytest.mark.parametrize(
    "make_state",  # a state holds the time of its creation, and collection may have been long ago
    [lambda: Scheduled(scheduled_time=LONG_AGO), Pending, Running],
    ids=["no worker has taken it", "a worker has taken it", "it has begun"],
)
def test_waiting_or_running_shard_has_no_exit(make_state):
    """The wait for a worker has no limit."""
    assert _exit_of(make_state()) is None


@pytest.mark.parametrize(("kind", "timeout"), [(Pending, START_TIMEOUT), (Running, ATTEMPT_TIMEOUT)])
def test_shard_exits_after_its_timeout(kind, timeout):
    """A worker that was killed with its shard reports no state."""
    now, margin = datetime.now(UTC), timedelta(seconds=20)
    assert _exit_of(kind(timestamp=now - timeout + margin)) is None
    shard_exit = _exit_of(kind(timestamp=now - timeout - margin))
    assert f"{timeout.total_seconds() / 60:.0f} minutes after the state {kind().name}" in shard_exit.words
    assert not shard_exit.refused


@pytest.mark.parametrize(
    ("state", "words", "refused"),
    [
        (Completed(), "Completed: no message", False),
        (Crashed(message="exit code -9"), "Crashed: exit code -9", False),
        (Failed(name=REFUSED, message="set TILEWISE_LEDGER"), "Refused: set TILEWISE_LEDGER", True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_shard_in_a_final_state_has_an_exit(state, words, refused):
    """A refused shard is marked, as another attempt could not begin either."""
    assert _exit_of(state) == (words, refused)


@pytest.mark.anyio
async def test_ready_refuses_an_unreachable_server():
    """The message names the flag that needs the server."""
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with (
        temporary_settings(settings),
        pytest.raises(ConfigurationError, match="--shard-size needs the Prefect server"),
    ):
        await PrefectShards().ready()
