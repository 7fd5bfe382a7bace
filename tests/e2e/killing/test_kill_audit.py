"""A run is killed during its audit: the next one publishes its rows once, without a call, and counts the audit.

Covers `extractors.run.audit_recovery`.
"""

import pytest

pytestmark = pytest.mark.slow

DOCUMENTS, AUDIT = 6, 4
ARGS = ("--bill", "formula", "--audit", str(AUDIT))
ONE_AT_A_TIME = {"TILEWISE_CONCURRENCY": "1"}
IN_VOLUMES = ONE_AT_A_TIME | {"TILEWISE_CHUNK": "2", "TILEWISE_VOLUME": "4"}
SIZE = (1500, 1500)  # has a higher rung


def prepare_documents(scenario):
    """Writes the documents, and sets the latency."""
    paths = scenario.workspace.images(*(f"{number}.png" for number in range(DOCUMENTS)), size=SIZE)
    scenario.server.rehearse(latency=0.05)
    return sorted(map(str, paths))


INTENT, REPLY = "committed insert calls, update days, update runs", "committed update calls, update days, update runs"


@pytest.mark.parametrize(
    "ledger", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.soak])], indirect=True
)
@pytest.mark.parametrize(
    ("moment", "read", "env"),
    [
        ((INTENT, DOCUMENTS + 1), 0, ONE_AT_A_TIME),
        ((INTENT, DOCUMENTS + 3), 2, ONE_AT_A_TIME),
        ((REPLY, DOCUMENTS + 2), 2, ONE_AT_A_TIME),
        ((REPLY, DOCUMENTS + AUDIT), AUDIT, ONE_AT_A_TIME),
        ((REPLY, DOCUMENTS + 3), 3, IN_VOLUMES),
        (("rename staging/fields", 1), AUDIT, ONE_AT_A_TIME),
    ],
    ids=["first call", "third call", "second answer", "last answer", "in volumes", "staging"],
)
def test_answers_of_a_killed_audit_are_counted_by_the_next_run(scenario, moment, read, env):
    """It compares them, and sends nothing, as all documents have results."""
    documents = prepare_documents(scenario)
    killed = scenario.run(*ARGS, kill=moment, env=env)
    recovery = scenario.run(*ARGS, env=env)
    first, last = scenario.table("runs").sort("started_at", "volume").to_dicts()[-2:]

    assert killed.killed
    assert (recovery.status, recovery.row["skipped"], recovery.row["audited"]) == (0, DOCUMENTS, 0), recovery.stderr
    assert (first["status"], first["audited"], first["audit_agreed"]) == ("abandoned", read, read)
    assert f"audit: {read} of up to {AUDIT} documents were read again before the process ended" in first["warnings"]
    assert scenario.server.answered == DOCUMENTS + read
    assert (last["calls"], last["cost_usd"]) == (0, 0)
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.table("calls").filter(rung=0).height == read + (moment[0] == INTENT)
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_audit_killed_while_publishing_keeps_its_own_counts(scenario):
    documents = prepare_documents(scenario)
    assert scenario.run(*ARGS, kill=("rename calls", 1), env=ONE_AT_A_TIME).killed
    assert scenario.run(*ARGS, env=ONE_AT_A_TIME).status == 0
    first = scenario.table("runs").sort("started_at").to_dicts()[0]
    assert (first["status"], first["audited"], first["warnings"]) == ("completed", AUDIT, [])
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.contradictions() == []
