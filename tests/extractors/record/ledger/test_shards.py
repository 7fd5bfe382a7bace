"""shards.py: a piece of a run belongs to one living process at a time, and the run can tell it to stop."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core.call_counts import CallCounts
from extractors.core.errors import BudgetSpent, LedgerError
from extractors.record.ledger.budget import Budget

# A process that begins a try at a shard, says so, and then waits to be killed.
BEGINS = """
import sys
from extractors.record.ledger import Ledger

with Ledger(sys.argv[1]) as ledger:
    ledger.shards.begin(sys.argv[2], 0, 7)
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(ledger, terms):
    """A run that this process works on."""
    ledger.runs.begin(terms)
    return terms.run


@pytest.fixture
def elsewhere(spawn, url, run):
    """A real process that works on the run's first shard."""
    process = spawn(BEGINS, url, run)
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_shard_goes_on_while_its_run_does(ledger, run):
    this, earlier = ledger.shards.begin(run, 0, 7)
    assert (this.attempt, earlier) == (0, [])
    assert ledger.shards.heartbeat(this) == "go on"


def test_a_shard_hears_that_it_is_to_stop(ledger, run):
    this, _ = ledger.shards.begin(run, 0, 7)
    ledger.shards.request_stop(run)
    assert ledger.shards.heartbeat(this) == "stop"


def test_a_shard_whose_parent_has_gone_is_to_stop(ledger, run):
    """It may bring what it has to its end: nobody takes the run over as long as it works."""
    this, _ = ledger.shards.begin(run, 0, 7)
    ledger.runs.release(run)
    assert ledger.shards.heartbeat(this) == "stop"


@pytest.mark.parametrize("how", ["ended", "dismissed", "forgotten"])
def test_a_shard_hears_that_nobody_waits_for_it(ledger, run, how):
    """Its run has ended, or goes on without it."""
    this, _ = ledger.shards.begin(run, 0, 7)
    {
        "ended": ledger.runs.finish,
        "dismissed": ledger.shards.release_all,
        "forgotten": ledger.runs.forget,
    }[how](run)
    assert ledger.shards.heartbeat(this) == "lost"


def test_a_shard_that_is_worked_on_is_not_begun_again(ledger, run, elsewhere):
    """As long as that process is there."""
    with pytest.raises(LedgerError, match=r"shard 0 of run .* is in progress in another process"):
        ledger.shards.begin(run, 0, 8)


def test_a_shard_whose_process_was_killed_is_begun_again(ledger, run, elsewhere):
    """At once where that can be seen; the next try knows by whom the last one wrote."""
    elsewhere.kill()
    elsewhere.wait()
    assert [each.live for each in ledger.shards.list_attempts(run)] == [False]
    this, earlier = ledger.shards.begin(run, 0, 8)
    assert (this.attempt, [each.writer for each in earlier]) == (1, [7])


def test_a_try_that_was_cut_off_and_comes_back_is_lost(ledger, run, sql):
    """Its lease had run out where nobody could see its process: the next try has its place."""
    old, _ = ledger.shards.begin(run, 0, 7)
    sql("update shards set host = 'elsewhere', lease_until = 0")
    new, _ = ledger.shards.begin(run, 0, 8)
    assert (ledger.shards.heartbeat(old), ledger.shards.heartbeat(new)) == ("lost", "go on")
    assert [each.live for each in ledger.shards.list_attempts(run)] == [False, True]


@pytest.mark.parametrize("how", ["begun again", "buried", "finished"])
def test_no_budget_waits_for_what_a_lost_try_had_on_its_way(ledger, run, elsewhere, ledger_writer, sql, how):
    """Nobody will ever say what became of it: it keeps its reservation, and whoever needs more hears that all is spent."""
    lost, next_one = ledger_writer(run, Budget(run=Decimal("0.02"))), ledger_writer(run, Budget(run=Decimal("0.02")))
    lost.reserve("0.02")
    sql("update calls set writer = 7")  # the process that is killed
    assert next_one.reserve("0.01") is None
    elsewhere.kill()
    elsewhere.wait()
    [last] = ledger.shards.list_attempts(run)
    {
        "begun again": lambda: ledger.shards.begin(run, 0, 8),
        "buried": lambda: ledger.shards.expire(last),
        "finished": lambda: ledger.shards.finish(replace(last, status="failed")),
    }[how]()
    assert sql("select outcome, billed from calls") == [("aborted", "unknown")]
    with pytest.raises(BudgetSpent, match=r"\$0\.02 are paid or reserved"):
        next_one.reserve("0.01")


@pytest.mark.parametrize("how", ["told", "dismissed", "taken over", "ended"])
def test_no_shard_of_a_run_begins_after_its_end(ledger, run, how):
    """One that waited for a worker all the while would pay for what nobody publishes."""
    if how == "taken over":
        ledger.runs.release(run)
    {"told": ledger.shards.request_stop, "dismissed": ledger.shards.release_all, "taken over": ledger.runs.adopt}.get(
        how, ledger.runs.finish
    )(run)
    assert ledger.runs.find_live(run) is None
    with pytest.raises(LedgerError, match="starts no more shards"):
        ledger.shards.begin(run, 0, 7)


def test_how_far_a_try_is_can_be_seen(ledger, run):
    """While it works."""
    this, _ = ledger.shards.begin(run, 0, 7)
    counts = {"calls": CallCounts(9, 2, 1, Counter(["timeout"])), "kinds": Counter(["off_schema"])}
    so_far = replace(this, accepted=5, failed=1, **counts)
    ledger.shards.heartbeat(so_far)
    assert ledger.shards.list_attempts(run) == [so_far]


def test_what_a_run_holds_is_known(ledger, run, ledger_writer):
    """In dollars: paid, or reserved."""
    assert ledger.shards.held_usd(run) == 0
    ledger_writer(run).reserve("0.02")
    assert ledger.shards.held_usd(run) == Decimal("0.02")


def test_how_a_try_ended_is_known(ledger, run):
    this, _ = ledger.shards.begin(run, 3, 7)
    ended = replace(this, status="stopped", message="SIGTERM came", warnings=("odd",), accepted=5, failed=1)
    ledger.shards.finish(ended)
    assert ledger.shards.list_attempts(run) == [replace(ended, live=False)]
    assert ledger.shards.heartbeat(this) == "lost"


def test_a_run_whose_shard_is_worked_on_is_not_taken_over(ledger, run, elsewhere, terms):
    """Its calls are still noted; once that process has ended it is."""
    ledger.runs.release(run)
    assert ledger.runs.list_abandoned(terms.output, terms.schema) == []
    assert not ledger.runs.adopt(run)
    elsewhere.kill()
    elsewhere.wait()
    assert [each.run for each in ledger.runs.list_abandoned(terms.output, terms.schema)] == [run]
    assert ledger.runs.adopt(run)


def test_a_live_run_is_found_with_its_host(ledger, run, terms):
    found, host = ledger.runs.find_live(run)
    assert (found.run, found.price, bool(host)) == (run, terms.price, True)
    assert ledger.runs.find_live("another") is None
    ledger.runs.release(run)
    assert ledger.runs.find_live(run) is None


def test_shards_of_two_runs_are_apart(ledger, run, terms):
    ledger.runs.begin(vary(terms, run="second"))
    ledger.shards.begin(run, 0, 7)
    ledger.shards.begin("second", 0, 8)
    ledger.shards.request_stop("second")
    assert [each.writer for each in ledger.shards.list_attempts(run)] == [7]
    assert ledger.shards.heartbeat(ledger.shards.list_attempts(run)[0]) == "go on"
