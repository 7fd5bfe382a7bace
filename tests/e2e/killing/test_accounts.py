"""With any faults in any order, and runs killed at any point, the tables add up and agree with the server's bill."""

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
KILLS = st.integers(1, 110)  # a run with fewer points is not killed


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@settings(
    max_examples=8,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # an example takes seconds: shrinking one would take minutes
    report_multiple_bugs=False,
)
@given(runs=st.lists(st.tuples(FAULTS, KILLS), min_size=1, max_size=3))
def test_tables_add_up_after_faults_and_kills(make_scenario, runs):
    """After up to three runs with faults, killed or not, and a last one without faults."""
    scenario = make_scenario()
    documents = scenario.write_documents(DOCUMENTS)
    finished = [run_with_faults(scenario, faults, kill) for faults, kill in runs]
    half_written = scenario.list_unreadable()
    scenario.server.change(faults=None)
    last = scenario.run(env=CHUNK)  # with the default timeout, for busy machines
    event(f"{sum(run.killed for run in finished)} killed")

    assert [run.stderr for run in finished if "Traceback" in run.stderr] == []
    assert half_written + scenario.list_unreadable() == []
    assert last.status == 0, last.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert set(scenario.sorted_column("runs", "run")) == scenario.list_begun_runs()
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


def run_with_faults(scenario, faults, kill):
    """Runs against a server with these faults, killed at this point."""
    scenario.server.change(faults=faults)
    return scenario.run(kill=("any", kill), env=QUICK)
