"""Processes of the command itself: killed by the clock, and two at once over one folder."""

import pytest

pytestmark = pytest.mark.slow

MANY, AT_ONCE = 500, 32
CONCURRENCY = 4  # of a scenario


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_of_500_calls_at_most_those_in_flight_are_paid_twice(kill_run, wait):
    """`kill -9` in the middle, with 32 at once."""
    documents = kill_run.documents(MANY)
    kill_run.workspace.env["TILEWISE_CONCURRENCY"] = str(AT_ONCE)
    kill_run.server.rehearse(latency=0.2)
    with kill_run.start() as process:
        wait(lambda: process.poll() is not None or kill_run.server.underway().answered >= MANY // 2)
        process.kill()
    half_written = kill_run.unreadable()
    again = kill_run.run()

    assert process.returncode == -9
    assert half_written == []
    assert again.status == 0, again.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert MANY <= kill_run.server.answered <= MANY + AT_ONCE
    assert sorted(kill_run.names_in("runs", "status")) == ["abandoned", "completed"]
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


def test_two_runs_over_one_folder_pay_every_document_once(kill_run):
    """What the other one is reading is left to it."""
    documents = kill_run.documents(60)
    kill_run.server.rehearse(latency=0.1)
    with kill_run.start() as first, kill_run.start() as second:
        codes = first.wait(120), second.wait(120)
    runs = kill_run.table("runs")

    assert codes == (0, 0)
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.server.answered == len(documents)
    assert runs["accepted"].sum() == len(documents)
    assert kill_run.names_in("runs", "status") == ["completed", "completed"]
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


def test_a_live_run_is_not_taken_over(kill_run, wait):
    """The one that comes later leaves it what it is reading, or finds it read; both end as if they were alone."""
    documents = kill_run.documents(12)
    kill_run.server.rehearse(latency=1.5)
    with kill_run.start() as first:
        wait(lambda: first.poll() is not None or kill_run.server.underway().requests >= CONCURRENCY)
        second = kill_run.run()
        code = first.wait(120)
    runs = kill_run.table("runs")

    assert code == 0
    assert second.status == 0, second.stderr
    assert second.row["remaining"] == 0 or second.row["warnings"] != []
    assert runs["accepted"].sum() == len(documents)
    assert runs["status"].to_list() == ["completed", "completed"]
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.server.answered == len(documents)
    assert kill_run.odds() == []
