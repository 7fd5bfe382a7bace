"""A run is killed during its audit: the next one publishes the rows once, pays for nothing again, and says how far it came.

Covers `extractors.run.audit_recovery`.
"""

import pytest

pytestmark = pytest.mark.slow

DOCUMENTS, AUDIT = 6, 4
ARGS = ("--bill", "formula", "--audit", str(AUDIT))
ONE_AT_A_TIME = {"TILEWISE_CONCURRENCY": "1"}
IN_VOLUMES = ONE_AT_A_TIME | {"TILEWISE_CHUNK": "2", "TILEWISE_VOLUME": "4"}
SIZE = (1500, 1500)  # has a rung above the first one


def prepare_documents(kill_run):
    """The scenario with its documents, and a server that takes its time."""
    paths = kill_run.workspace.images(*(f"{number}.png" for number in range(DOCUMENTS)), size=SIZE)
    kill_run.server.rehearse(latency=0.05)
    return sorted(map(str, paths))


INTENT, REPLY = "committed insert calls, insert days, update runs", "committed insert days, update calls, update runs"


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
def test_audit_that_is_killed_is_reported_as_far_as_it_came(kill_run, moment, read, env):
    """Its answers are counted and compared by the next run, which sends nothing: all documents are done."""
    documents = prepare_documents(kill_run)
    killed = kill_run.run(*ARGS, kill=moment, env=env)
    again = kill_run.run(*ARGS, env=env)
    first, last = kill_run.table("runs").sort("started_at", "volume").to_dicts()[-2:]

    assert killed.killed
    assert (again.status, again.row["skipped"], again.row["audited"]) == (0, DOCUMENTS, 0), again.stderr
    assert (first["status"], first["audited"], first["audit_agreed"]) == ("abandoned", read, read)
    assert f"audit: {read} of up to {AUDIT} documents were read again before the process ended" in first["warnings"]
    assert kill_run.server.answered == DOCUMENTS + read
    assert (last["calls"], last["cost_usd"]) == (0, 0)
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.table("calls").filter(rung=0).height == read + (moment[0] == INTENT)
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_audit_that_is_being_published_is_published_whole(kill_run):
    """As the run itself had counted it."""
    documents = prepare_documents(kill_run)
    assert kill_run.run(*ARGS, kill=("rename calls", 1), env=ONE_AT_A_TIME).killed
    assert kill_run.run(*ARGS, env=ONE_AT_A_TIME).status == 0
    first = kill_run.table("runs").sort("started_at").to_dicts()[0]
    assert (first["status"], first["audited"], first["warnings"]) == ("completed", AUDIT, [])
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.odds() == []
