"""Whatever goes wrong in whatever order, and wherever runs are killed: the accounts add up, and the bill lies within."""

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

DOCUMENTS = 8
KINDS = (
    *("rate_limited", "server_error", "capacity", "reset", "stall", "drip", "truncated"),
    *("off_schema", "prose", "fenced", "empty", "html", "error_body", "no_usage"),
)
OPTIONS = {"retry_after": 0.01, "stall_seconds": 30.0, "drip_seconds": 0.05}
CHUNK = {"TILEWISE_CHUNK": "3"}
QUICK = CHUNK | {"TILEWISE_TIMEOUT": "0.7", "TILEWISE_ATTEMPTS": "2"}
SHARES = st.dictionaries(st.sampled_from(KINDS), st.sampled_from([0.05, 0.1, 0.15]), min_size=1, max_size=6)
FAULTS = st.fixed_dictionaries({"seed": st.integers(0, 999), "shares": SHARES, "options": st.just(OPTIONS)})
KILLS = st.integers(1, 110)  # a number that a run does not come to lets it live


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@settings(
    max_examples=8,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # every example is some seconds: shrinking one would take minutes
    report_multiple_bugs=False,
)
@given(runs=st.lists(st.tuples(FAULTS, KILLS), min_size=1, max_size=3))
def test_the_accounts_add_up(kill_runs, runs):
    """After up to three runs with faults, killed or not, and a last one without."""
    kill_run = kill_runs()
    documents = kill_run.documents(DOCUMENTS)
    ended = [faulty(kill_run, faults, kill) for faults, kill in runs]
    half_written = kill_run.unreadable()
    kill_run.server.change(faults=None)
    last = kill_run.run(env=CHUNK)  # waits for an answer however busy the machine is
    event(f"{sum(each.killed for each in ended)} killed")

    assert [each.stderr for each in ended if "Traceback" in each.stderr] == []
    assert half_written + kill_run.unreadable() == []
    assert last.status == 0, last.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert set(kill_run.names_in("runs", "run")) == kill_run.runs_begun()
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


def faulty(kill_run, faults, kill):
    """A run at a server of these faults, which may be killed."""
    kill_run.server.change(faults=faults)
    return kill_run.run(kill=("any", kill), env=QUICK)
