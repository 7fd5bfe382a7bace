"""shards.py: a shard of a run is leased by one live process at a time, and the run can tell it to stop."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core.call_counts import CallCounts
from extractors.core.errors import BudgetSpent, LedgerError
from extractors.record.ledger.budget import Budget

# A process that begins an attempt at a shard, prints "begun", and waits to be killed.
BEGIN_SHARD = """
import sys
from extractors.record.ledger import Ledger

with Ledger(sys.argv[1]) as ledger:
    ledger.shards.begin(sys.argv[2], 0, 7)
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(ledger, terms):
    """A run that this process has begun."""
    ledger.runs.begin(terms)
    return terms.run


@pytest.fixture
def other_process(spawn, url, run):
    """A process that works on the run's first shard."""
    process = spawn(BEGIN_SHARD, url, run)
    assert process.stdout.readline() == "begun\n"
    return process


def test_heartbeat_returns_go_on_while_the_run_is_live(ledger, run):
    attempt, earlier = ledger.shards.begin(run, 0, 7)
    assert (attempt.attempt, earlier) == (0, [])
    assert ledger.shards.heartbeat(attempt) == "go on"


def test_heartbeat_returns_stop_after_request_stop(ledger, run):
    attempt, _ = ledger.shards.begin(run, 0, 7)
    ledger.shards.request_stop(run)
    assert ledger.shards.heartbeat(attempt) == "stop"


def test_heartbeat_returns_stop_after_the_parent_released_the_run(ledger, run):
    """The shard may finish its documents in flight; the run is not taken over before."""
    attempt, _ = ledger.shards.begin(run, 0, 7)
    ledger.runs.release(run)
    assert ledger.shards.heartbeat(attempt) == "stop"


@pytest.mark.parametrize("action", ["ended", "dismissed", "forgotten"])
def test_heartbeat_returns_lost_after_the_run_ended_or_released_its_shards(ledger, run, action):
    attempt, _ = ledger.shards.begin(run, 0, 7)
    {
        "ended": ledger.runs.finish,
        "dismissed": ledger.shards.release_all,
        "forgotten": ledger.runs.forget,
    }[action](run)
    assert ledger.shards.heartbeat(attempt) == "lost"


def test_begin_refuses_a_shard_in_progress_in_another_process(ledger, run, other_process):
    with pytest.raises(LedgerError, match=r"shard 0 of run .* is in progress in another process"):
        ledger.shards.begin(run, 0, 8)


def test_begin_restarts_a_shard_of_a_killed_process(ledger, run, other_process):
    """On the same host this needs no wait for the lease; the new attempt knows the writer of the earlier one."""
    other_process.kill()
    other_process.wait()
    assert [attempt.live for attempt in ledger.shards.list_attempts(run)] == [False]
    attempt, earlier = ledger.shards.begin(run, 0, 8)
    assert (attempt.attempt, [shard.writer for shard in earlier]) == (1, [7])


def test_heartbeat_of_a_replaced_attempt_returns_lost(ledger, run, sql):
    """Its lease had expired on another host, and a new attempt began."""
    old, _ = ledger.shards.begin(run, 0, 7)
    sql("update shards set host = 'elsewhere', lease_until = 0")
    new, _ = ledger.shards.begin(run, 0, 8)
    assert (ledger.shards.heartbeat(old), ledger.shards.heartbeat(new)) == ("lost", "go on")
    assert [attempt.live for attempt in ledger.shards.list_attempts(run)] == [False, True]


@pytest.mark.parametrize("action", ["begun again", "buried", "finished"])
def test_calls_of_a_lost_attempt_are_aborted_and_keep_their_reservation(
    ledger, run, other_process, ledger_writer, sql, action
):
    """Their bill is unknown, so further intents do not wait for them but raise BudgetSpent."""
    lost_writer, next_writer = (
        ledger_writer(run, Budget(run=Decimal("0.02"))),
        ledger_writer(run, Budget(run=Decimal("0.02"))),
    )
    lost_writer.reserve("0.02")
    sql("update calls set writer = 7")  # that of the process to be killed
    assert next_writer.reserve("0.01") is None
    other_process.kill()
    other_process.wait()
    [last] = ledger.shards.list_attempts(run)
    {
        "begun again": lambda: ledger.shards.begin(run, 0, 8),
        "buried": lambda: ledger.shards.expire(last),
        "finished": lambda: ledger.shards.finish(replace(last, status="failed")),
    }[action]()
    assert sql("select outcome, billed from calls") == [("aborted", "unknown")]
    with pytest.raises(BudgetSpent, match=r"\$0\.02 are paid or reserved"):
        next_writer.reserve("0.01")


@pytest.mark.parametrize("action", ["told", "dismissed", "taken over", "ended"])
def test_begin_refuses_a_shard_of_a_run_that_is_stopping_or_has_ended(ledger, run, action):
    """A shard that waited for a worker until then would pay for documents that are not published."""
    if action == "taken over":
        ledger.runs.release(run)
    {"told": ledger.shards.request_stop, "dismissed": ledger.shards.release_all, "taken over": ledger.runs.adopt}.get(
        action, ledger.runs.finish
    )(run)
    assert ledger.runs.find_live(run) is None
    with pytest.raises(LedgerError, match="starts no more shards"):
        ledger.shards.begin(run, 0, 7)


def test_heartbeat_stores_the_progress(ledger, run):
    attempt, _ = ledger.shards.begin(run, 0, 7)
    counts = {"calls": CallCounts(9, 2, 1, Counter(["timeout"])), "kinds": Counter(["off_schema"])}
    progress = replace(attempt, accepted=5, failed=1, **counts)
    ledger.shards.heartbeat(progress)
    assert ledger.shards.list_attempts(run) == [progress]


def test_held_usd_is_the_amount_held_by_the_run(ledger, run, ledger_writer):
    assert ledger.shards.held_usd(run) == 0
    ledger_writer(run).reserve("0.02")
    assert ledger.shards.held_usd(run) == Decimal("0.02")


def test_finish_stores_status_message_and_counts(ledger, run):
    attempt, _ = ledger.shards.begin(run, 3, 7)
    end = replace(attempt, status="stopped", message="SIGTERM came", warnings=("odd",), accepted=5, failed=1)
    ledger.shards.finish(end)
    assert ledger.shards.list_attempts(run) == [replace(end, live=False)]
    assert ledger.shards.heartbeat(attempt) == "lost"


def test_run_with_a_live_shard_is_not_taken_over(ledger, run, other_process, terms):
    """It is abandoned once the process of the shard has ended."""
    ledger.runs.release(run)
    assert ledger.runs.list_abandoned(terms.output, terms.schema) == []
    assert not ledger.runs.adopt(run)
    other_process.kill()
    other_process.wait()
    assert [info.run for info in ledger.runs.list_abandoned(terms.output, terms.schema)] == [run]
    assert ledger.runs.adopt(run)


def test_find_live_returns_the_run_and_its_host(ledger, run, terms):
    info, host = ledger.runs.find_live(run)
    assert (info.run, info.price, bool(host)) == (run, terms.price, True)
    assert ledger.runs.find_live("another") is None
    ledger.runs.release(run)
    assert ledger.runs.find_live(run) is None


def test_request_stop_reaches_only_the_shards_of_its_run(ledger, run, terms):
    ledger.runs.begin(vary(terms, run="second"))
    ledger.shards.begin(run, 0, 7)
    ledger.shards.begin("second", 0, 8)
    ledger.shards.request_stop("second")
    assert [attempt.writer for attempt in ledger.shards.list_attempts(run)] == [7]
    assert ledger.shards.heartbeat(ledger.shards.list_attempts(run)[0]) == "go on"
