"""Processes of the command itself: killed by the clock, and two at once over one folder."""

import pytest

pytestmark = pytest.mark.slow

MANY, AT_ONCE = 500, 32
CONCURRENCY = 4  # of a scene


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_of_500_calls_at_most_those_in_flight_are_paid_twice(scene, wait):
    """`kill -9` in the middle, with 32 at once."""
    documents = scene.documents(MANY)
    scene.desk.env["TILEWISE_CONCURRENCY"] = str(AT_ONCE)
    scene.server.rehearse(latency=0.2)
    with scene.start() as process:
        wait(lambda: process.poll() is not None or scene.server.underway().answered >= MANY // 2)
        process.kill()
    half_written = scene.unreadable()
    again = scene.run()

    assert process.returncode == -9
    assert half_written == []
    assert again.status == 0, again.stderr
    assert scene.names_in("results", "_document") == documents
    assert MANY <= scene.server.answered <= MANY + AT_ONCE
    assert sorted(scene.names_in("runs", "status")) == ["abandoned", "completed"]
    assert scene.staged() == []
    assert scene.odds() == []


def test_two_runs_over_one_folder_pay_every_document_once(scene):
    """What the other one is reading is left to it."""
    documents = scene.documents(60)
    scene.server.rehearse(latency=0.1)
    with scene.start() as first, scene.start() as second:
        codes = first.wait(120), second.wait(120)
    runs = scene.table("runs")

    assert codes == (0, 0)
    assert scene.names_in("results", "_document") == documents
    assert scene.server.answered == len(documents)
    assert runs["accepted"].sum() == len(documents)
    assert scene.names_in("runs", "status") == ["completed", "completed"]
    assert scene.staged() == []
    assert scene.odds() == []


def test_a_live_run_is_not_taken_over(scene, wait):
    """The one that comes later leaves it what it is reading, or finds it read; both end as if they were alone."""
    documents = scene.documents(12)
    scene.server.rehearse(latency=1.5)
    with scene.start() as first:
        wait(lambda: first.poll() is not None or scene.server.underway().requests >= CONCURRENCY)
        second = scene.run()
        code = first.wait(120)
    runs = scene.table("runs")

    assert code == 0
    assert second.status == 0, second.stderr
    assert second.row["remaining"] == 0 or second.row["warnings"] != []
    assert runs["accepted"].sum() == len(documents)
    assert runs["status"].to_list() == ["completed", "completed"]
    assert scene.names_in("results", "_document") == documents
    assert scene.server.answered == len(documents)
    assert scene.odds() == []
