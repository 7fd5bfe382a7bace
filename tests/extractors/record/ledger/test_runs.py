"""runs.py: a run belongs to a living process, is taken over by one, and is published once."""

import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from support.runs import vary

from extractors.core.errors import LedgerError
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import LEASE_SECONDS, Owner, current_process
from extractors.record.ledger.runs import KEEP_REPLY_DAYS

# A process that begins a run, says so, and then waits to be killed.
BEGINS = """
import sys
from datetime import UTC, datetime
from extractors.core import Fingerprint, RunInfo
from extractors.record.ledger import Ledger

terms = RunInfo("killed", datetime.now(UTC), "/in", "/out", Fingerprint("https://api.example/v1", "m", "slip", "", ""), "", "table")
with Ledger(sys.argv[1]) as ledger:
    ledger.runs.begin(terms)
    print("begun", flush=True)
    sys.stdin.read()
"""
TOKENS = "select count(tokens), count(token_logprobs) from calls"


@pytest.fixture
def abandoned(ledger, terms):
    """The abandoned runs of the usual output and schema."""
    return lambda: [each.run for each in ledger.runs.list_abandoned("/out", "slip")]


@pytest.fixture
def other_process(spawn, url, ledger):
    """A real process that has begun a run."""
    process = spawn(BEGINS, url)
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_run_is_noted_with_its_process(ledger, sql, terms):
    """A run that begins is known with the process that runs it, and is not published yet."""
    ledger.runs.begin(vary(terms, job='{"limit": 5}', flow="tune", flow_run="f10w"))
    query = "select run, flow, schema, source, output, started_at, pid, job, flow_run, published_at from runs"
    at = terms.started_at.isoformat()
    said = ('{"limit": 5}', "f10w", None)
    assert sql(query) == [(terms.run, "tune", "slip", "/in", "/out", at, os.getpid(), *said)]


def test_a_run_begins_once(ledger, terms):
    ledger.runs.begin(terms)
    with pytest.raises(LedgerError):
        ledger.runs.begin(terms)


def test_the_terms_of_a_run_can_be_read_again(ledger, terms):
    """All but the hashes of what it asked, which nobody needs who only publishes it."""
    ledger.runs.begin(terms)
    ledger.runs.release(terms.run)
    assert ledger.runs.list_abandoned("/out", "slip") == [terms]


@pytest.mark.parametrize("change", [{"price": None}, {"job": '{"a": 1}', "flow": "tune", "flow_run": "f10w"}])
def test_the_terms_of_a_run_keep_what_is_not_usual(ledger, terms, change):
    """An unknown price stays unknown."""
    ledger.runs.begin(vary(terms, **change))
    ledger.runs.release(terms.run)
    (read,) = ledger.runs.list_abandoned("/out", "slip")
    assert {name: getattr(read, name) for name in change} == change


def test_a_price_without_a_cached_one_stays_without(ledger, terms):
    price = replace(terms.price, cached=None, as_of=None)
    ledger.runs.begin(vary(terms, price=price))
    ledger.runs.release(terms.run)
    assert ledger.runs.list_abandoned("/out", "slip")[0].price == price


def test_a_run_of_a_killed_process_is_abandoned(other_process, abandoned):
    """As soon as its process is gone, and not before: no time has to pass."""
    assert abandoned() == []
    other_process.kill()
    other_process.wait(20)
    assert abandoned() == ["killed"]


def test_a_run_of_a_zombie_is_abandoned(other_process, abandoned):
    """A killed process for which nobody has waited yet has ended, too."""
    other_process.kill()
    end = time.monotonic() + 20
    while ") Z " not in Path(f"/proc/{other_process.pid}/stat").read_text():
        assert time.monotonic() < end
    os.kill(other_process.pid, 0)  # it can still be asked for
    assert abandoned() == ["killed"]


def test_a_run_of_a_halted_process_is_its_own(other_process, abandoned, sql):
    """A process that is there keeps its run, however long its heart has not beaten."""
    other_process.send_signal(signal.SIGSTOP)
    sql("update runs set lease_until = 1")
    assert abandoned() == []


@pytest.mark.parametrize("until", [1.0, 9e9])
def test_a_live_process_keeps_its_run_whatever_the_clock_says(ledger, sql, terms, abandoned, until):
    """A lease of long ago, or of a clock that was ahead, means nothing on the same machine."""
    ledger.runs.begin(terms)
    sql("update runs set lease_until = :until", until=until)
    assert abandoned() == []
    assert ledger.runs.adopt(terms.run) is False
    assert ledger.runs.heartbeat(terms.run) is True


@pytest.mark.parametrize("until", [1.0, 9e9])
def test_a_dead_process_has_no_run_whatever_the_clock_says(other_process, sql, abandoned, until):
    """A lease that still lasts is of no use to a process that has ended on the same machine."""
    other_process.kill()
    other_process.wait(20)
    sql("update runs set lease_until = :until", until=until)
    assert abandoned() == ["killed"]


def test_a_pid_that_is_used_again_is_another_process(ledger, sql, terms, abandoned):
    """A process began later than the one that began the run, so it is not the same one."""
    ledger.runs.begin(terms)
    sql("update runs set born = '1'")
    assert abandoned() == [terms.run]


def test_a_process_whose_beginning_cannot_be_seen_is_there():
    """Where the system does not tell when it began, a pid that is in use is taken for the same process."""
    mine = current_process()
    assert Owner(mine.host, mine.pid, "").has_ended is False
    assert mine.has_ended is False


@pytest.mark.parametrize(("left", "is_abandoned"), [(LEASE_SECONDS / 2, False), (-1.0, True)])
def test_a_run_of_another_host_lasts_as_long_as_its_lease(ledger, sql, terms, abandoned, left, is_abandoned):
    """Its process cannot be seen from here: without a heartbeat for a minute it counts as ended."""
    ledger.runs.begin(terms)
    sql("update runs set host = 'elsewhere', lease_until = :until", until=time.time() + left)
    assert abandoned() == [terms.run] * is_abandoned
    assert ledger.runs.adopt(terms.run) is is_abandoned


def test_a_lease_lasts_a_minute_from_each_beat(ledger, sql, terms):
    """By the clock of those who share the ledger."""
    ledger.runs.begin(terms)
    sql("update runs set lease_until = 1")
    before = time.time()
    assert ledger.runs.heartbeat(terms.run)
    ((until,),) = sql("select lease_until from runs")
    assert before + LEASE_SECONDS - 1 <= until <= time.time() + LEASE_SECONDS + 1


def test_a_beat_after_the_run_was_taken_over_is_false(ledger, sql, terms):
    """Whoever was silent for too long learns that the run is no longer its own."""
    ledger.runs.begin(terms)
    sql("update runs set host = 'elsewhere', pid = 1, lease_until = 9e9")
    assert ledger.runs.heartbeat(terms.run) is False
    assert sql("select host from runs") == [("elsewhere",)]


@pytest.mark.parametrize("end", ["forget", "release", "finish"])
def test_a_beat_after_the_end_is_false(ledger, terms, end):
    ledger.runs.begin(terms)
    getattr(ledger.runs, end)(terms.run)
    assert ledger.runs.heartbeat(terms.run) is False


def test_a_released_run_can_be_taken_over_at_once(ledger, terms, abandoned):
    """A run that its process gave up belongs to nobody, though the process lives."""
    ledger.runs.begin(terms)
    ledger.runs.release(terms.run)
    assert abandoned() == [terms.run]
    assert ledger.runs.adopt(terms.run) is True
    assert abandoned() == []


def test_only_its_owner_releases_a_run(ledger, sql, terms):
    """Who has lost a run gives nothing back."""
    ledger.runs.begin(terms)
    sql("update runs set host = 'elsewhere', lease_until = 9e9")
    ledger.runs.release(terms.run)
    assert sql("select host from runs") == [("elsewhere",)]


def test_a_forgotten_run_has_never_begun(ledger, sql, make, terms):
    """It leaves no row, and nothing that it had taken stays taken."""
    ledger.runs.begin(terms)
    ledger.claims.claim(terms, [make.plan()])
    ledger.runs.forget(terms.run)
    assert sql("select * from runs") == []
    later = vary(terms, run="later")
    ledger.runs.begin(later)
    assert ledger.claims.claim(later, [make.plan()]) == ["ours"]


def test_a_run_is_taken_over_once(ledger, url, terms):
    """Of many that try at the same moment exactly one succeeds."""
    ledger.runs.begin(terms)
    ledger.runs.release(terms.run)
    taken, start = [], threading.Barrier(4)

    def take():
        with Ledger(url) as mine:
            start.wait(20)
            taken.append(mine.runs.adopt(terms.run))

    threads = [threading.Thread(target=take) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    assert sorted(taken) == [False, False, False, True]


@pytest.mark.parametrize("run", ["published", "unheard of"])
def test_there_is_nothing_to_take_over_of_others(ledger, terms, run):
    """Neither of a run that is published, nor of one that never was."""
    ledger.runs.begin(vary(terms, run="published"))
    ledger.runs.finish("published")
    assert ledger.runs.adopt(run) is False


@pytest.mark.parametrize("other", [{"output": "/elsewhere"}, {"schema": "caption"}])
def test_the_runs_of_another_output_or_schema_are_left_alone(ledger, terms, abandoned, other):
    """Whoever works on those takes them over."""
    ledger.runs.begin(vary(terms, **other))
    ledger.runs.release(terms.run)
    assert abandoned() == []


def test_abandoned_runs_come_oldest_first(ledger, terms, abandoned):
    """Their rows are published in the order in which they began."""
    for run in ("20261120T03-c", "20261120T01-a", "20261120T02-b"):
        ledger.runs.begin(vary(terms, run=run))
        ledger.runs.release(run)
    assert abandoned() == ["20261120T01-a", "20261120T02-b", "20261120T03-c"]


def test_a_published_run_keeps_amounts_without_bodies(ledger, ledger_writer, sql, terms):
    """After publishing the answers are in the tables, and the money stays in the ledger."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve("1"))
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.finish(terms.run)
    query = "select reply, reserved_nano, cost_nano, prompt_tokens, volume from calls"
    assert sql(query) == [(None, 1_000_000_000, 935_000, 1750, 1)]
    assert sql("select count(published_at), max(volumes) from runs") == [(1, 1)]


def test_publishing_one_run_leaves_the_others_bodies(ledger, ledger_writer, sql, terms):
    """Bodies of a run that is still under way are all that it has."""
    for run in (terms.run, "other"):
        ledger.runs.begin(vary(terms, run=run))
    other = ledger_writer("other")
    other.settle(other.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.finish(terms.run)
    assert sql("select reply, volume from calls") == [('{"raw": 1}', None)]
    assert sql("select published_at from runs where run = 'other'") == [(None,)]


def test_volumes_are_counted(ledger, terms):
    """How many are in the tables, as far as the ledger was told."""
    ledger.runs.begin(terms)
    assert ledger.runs.count_volumes(terms.run) == 0
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.mark_volume_published(terms.run, 2, ())
    assert ledger.runs.count_volumes(terms.run) == 2


@pytest.fixture
def bequest(ledger, ledger_writer, make, terms):
    """A run that was published without the document of one answer, which is kept; its place in the ledger."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    for uri in ("/in/a.jpg", "/in/b.jpg"):
        noting.settle(noting.reserve(document=uri), reply=make.reply(logprobs=make.logprobs()))
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/b.jpg"})
    ledger.runs.finish(terms.run)
    return ledger.calls.orphaned_replies(terms)["request-/in/b.jpg"]


def later_run(ledger, terms, used=()):
    later = vary(terms, run="later", started_at=datetime.now(UTC))
    ledger.runs.begin(later)
    ledger.runs.mark_volume_published("later", 1, ())
    ledger.runs.finish("later", used)


def test_an_answer_is_kept_for_a_document_that_was_left_alone(bequest, sql):
    """Every other body is in the tables."""
    assert sql("select document, reply from calls order by call") == [("/in/a.jpg", None), ("/in/b.jpg", '{"raw": 1}')]
    assert sql(TOKENS) == [(1, 1)]


def test_an_answer_that_was_used_goes(bequest, ledger, sql, terms):
    """A document came of it: its body is in a table, and nobody is given it again."""
    later_run(ledger, terms, [bequest])
    assert ledger.calls.orphaned_replies(terms) == {}
    assert sql("select count(reply) from calls") == [(0,)]
    assert sql(TOKENS) == [(0, 0)]
    assert sql("select bequeathed from runs order by run") == [(0,), (0,)]


def test_an_answer_that_two_runs_have_used_is_counted_once(bequest, ledger, sql, terms):
    """The run that it came from has none left, not fewer than none."""
    later_run(ledger, terms, [bequest, bequest])
    assert sql("select bequeathed from runs order by run") == [(0,), (0,)]


@pytest.mark.parametrize(("days", "kept"), [(KEEP_REPLY_DAYS - 1, 1), (KEEP_REPLY_DAYS + 1, 0)])
def test_an_answer_that_nobody_uses_goes_after_a_while(bequest, ledger, sql, terms, days, kept):
    """Bodies do not pile up for documents that are gone."""
    published = datetime.now(UTC) - timedelta(days=days)
    sql("update runs set published_at = :at", at=published.isoformat())
    later_run(ledger, terms)
    assert sql("select count(reply) from calls") == [(kept,)]
    assert sql(TOKENS) == [(kept, kept)]
    assert len(ledger.calls.orphaned_replies(terms)) == kept


def test_a_clock_that_jumped_back_loses_nothing(ledger, ledger_writer, sql, terms, abandoned):
    """Rows of a later time than now are runs and calls as any other: found, taken over, published, and paid for."""
    ahead = vary(terms, started_at=datetime.now(UTC) + timedelta(days=400))
    ledger.runs.begin(ahead)
    noting = ledger_writer()
    noting.settle(noting.reserve("1"), cost_usd=Decimal("0.5"))
    sql("update runs set lease_until = :until", until=time.time() + 400 * 86_400)
    assert abandoned() == []
    ledger.runs.release(terms.run)
    assert abandoned() == [terms.run]
    assert ledger.runs.adopt(terms.run)
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.finish(terms.run)
    assert ledger.memory.means(terms).output_tokens == 40
    assert sql("select sum(held_nano) from days") == [(500_000_000,)]
