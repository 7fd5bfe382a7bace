"""parent: what Prefect says of a shard's flow run, and what a run in shards makes of it."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Crashed, Failed, Pending, Running, Scheduled

from extractors.core.errors import ConfigurationError
from flows.adapters.shards import ATTEMPT_TIMEOUT, REFUSED, START_TIMEOUT, PrefectShards, _exit_of

LONG_AGO = datetime.now(UTC) - START_TIMEOUT - timedelta(seconds=1)


@pytest.mark.parametrize(
    "make_state",  # a state has the time at which it was made, and collecting may have been long ago
    [lambda: Scheduled(scheduled_time=LONG_AGO), Pending, Running],
    ids=["nobody has taken it", "a worker has taken it", "it has begun"],
)
def test_a_shard_that_may_still_come_is_not_over(make_state):
    """However long it waits for a worker."""
    assert _exit_of(make_state()) is None


@pytest.mark.parametrize(("kind", "timeout"), [(Pending, START_TIMEOUT), (Running, ATTEMPT_TIMEOUT)])
def test_a_shard_that_a_worker_took_and_never_began_is_over(kind, timeout):
    """The worker was killed with it, and nobody else would ever say so."""
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
    ids=lambda each: getattr(each, "name", None),
)
def test_a_shard_in_a_final_state_is_over(state, words, refused):
    """Refused: another try could not begin either."""
    assert _exit_of(state) == (words, refused)


@pytest.mark.anyio
async def test_a_server_that_does_not_answer_is_said_before_anything_is_planned():
    """With the flag that needs it."""
    gone = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(gone), pytest.raises(ConfigurationError, match="--shard-size needs the Prefect server"):
        await PrefectShards().ready()
