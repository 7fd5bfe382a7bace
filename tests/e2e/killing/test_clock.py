"""Runs in their own processes: killed while calls are in flight, and two in parallel over one folder."""

import pytest

pytestmark = pytest.mark.slow

MANY, AT_ONCE = 500, 32
CONCURRENCY = 4  # as the scenario sets it


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_killed_run_pays_twice_at_most_for_calls_in_flight(scenario, wait):
    """`kill -9` in the middle of 500 calls, with 32 in flight."""
    documents = scenario.write_documents(MANY)
    scenario.workspace.env["TILEWISE_CONCURRENCY"] = str(AT_ONCE)
    scenario.server.rehearse(latency=0.2)
    with scenario.start() as process:
        wait(lambda: process.poll() is not None or scenario.server.read_progress().answered >= MANY // 2)
        process.kill()
    half_written = scenario.list_unreadable()
    recovery = scenario.run()

    assert process.returncode == -9
    assert half_written == []
    assert recovery.status == 0, recovery.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert MANY <= scenario.server.answered <= MANY + AT_ONCE
    assert sorted(scenario.sorted_column("runs", "status")) == ["abandoned", "completed"]
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


def test_parallel_runs_over_one_folder_pay_every_document_once(scenario):
    """A run leaves out the documents that the other has claimed."""
    documents = scenario.write_documents(60)
    scenario.server.rehearse(latency=0.1)
    with scenario.start() as first, scenario.start() as second:
        codes = first.wait(120), second.wait(120)
    runs = scenario.table("runs")

    assert codes == (0, 0)
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.server.answered == len(documents)
    assert runs["accepted"].sum() == len(documents)
    assert scenario.sorted_column("runs", "status") == ["completed", "completed"]
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


def test_live_run_is_not_recovered_by_a_later_run(scenario, wait):
    """The later run leaves out its documents or finds them finished; both are completed."""
    documents = scenario.write_documents(12)
    scenario.server.rehearse(latency=1.5)
    with scenario.start() as first:
        wait(lambda: first.poll() is not None or scenario.server.read_progress().requests >= CONCURRENCY)
        second = scenario.run()
        code = first.wait(120)
    runs = scenario.table("runs")

    assert code == 0
    assert second.status == 0, second.stderr
    assert second.row["remaining"] == 0 or second.row["warnings"] != []
    assert runs["accepted"].sum() == len(documents)
    assert runs["status"].to_list() == ["completed", "completed"]
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.server.answered == len(documents)
    assert scenario.contradictions() == []
