"""runs.py: a run is owned by one live process, is taken over when that process has ended, and is published once."""

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

# A process that begins a run, prints "begun", and waits to be killed.
BEGIN_RUN = """
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
COUNT_TOKENS = "select count(tokens), count(token_logprobs) from calls"


@pytest.fixture
def list_abandoned(ledger, terms):
    """Returns a function that lists the abandoned runs of the default output and schema."""
    return lambda: [info.run for info in ledger.runs.list_abandoned("/out", "slip")]


@pytest.fixture
def other_process(spawn, url, ledger):
    """Starts a process that begins a run, and waits until it has begun."""
    process = spawn(BEGIN_RUN, url)
    assert process.stdout.readline() == "begun\n"
    return process


def test_begin_stores_the_run_with_its_process(ledger, sql, terms):
    """The run's row has the pid of the process that began it, and no publication time."""
    ledger.runs.begin(vary(terms, job='{"limit": 5}', flow="tune", flow_run="f10w"))
    query = "select run, flow, schema, source, output, started_at, pid, job, flow_run, published_at from runs"
    started_at = terms.started_at.isoformat()
    job_columns = ('{"limit": 5}', "f10w", None)
    assert sql(query) == [(terms.run, "tune", "slip", "/in", "/out", started_at, os.getpid(), *job_columns)]


def test_begin_refuses_a_run_that_has_begun(ledger, terms):
    ledger.runs.begin(terms)
    with pytest.raises(LedgerError):
        ledger.runs.begin(terms)


def test_list_abandoned_returns_the_run_info_of_a_run(ledger, terms):
    """The run info that was stored at the start equals the one that is read back."""
    ledger.runs.begin(terms)
    ledger.runs.release(terms.run)
    assert ledger.runs.list_abandoned("/out", "slip") == [terms]


@pytest.mark.parametrize("change", [{"price": None}, {"job": '{"a": 1}', "flow": "tune", "flow_run": "f10w"}])
def test_run_info_keeps_an_unknown_price_and_the_job(ledger, terms, change):
    """Values that differ from the defaults are read back as they were stored."""
    ledger.runs.begin(vary(terms, **change))
    ledger.runs.release(terms.run)
    (stored,) = ledger.runs.list_abandoned("/out", "slip")
    assert {name: getattr(stored, name) for name in change} == change


def test_run_info_keeps_a_price_without_cached_price_and_date(ledger, terms):
    price = replace(terms.price, cached=None, as_of=None)
    ledger.runs.begin(vary(terms, price=price))
    ledger.runs.release(terms.run)
    assert ledger.runs.list_abandoned("/out", "slip")[0].price == price


def test_run_of_a_killed_process_is_abandoned_at_once(other_process, list_abandoned):
    """The run is abandoned as soon as its process has ended, without waiting for its lease, and not before."""
    assert list_abandoned() == []
    other_process.kill()
    other_process.wait(20)
    assert list_abandoned() == ["killed"]


def test_run_of_a_zombie_process_is_abandoned(other_process, list_abandoned):
    """A killed process that its parent has not reaped counts as ended."""
    other_process.kill()
    deadline = time.monotonic() + 20
    while ") Z " not in Path(f"/proc/{other_process.pid}/stat").read_text():
        assert time.monotonic() < deadline
    os.kill(other_process.pid, 0)  # the pid still exists
    assert list_abandoned() == ["killed"]


def test_run_of_a_suspended_process_is_not_abandoned(other_process, list_abandoned, sql):
    """A process that exists keeps its run, even after its lease has expired."""
    other_process.send_signal(signal.SIGSTOP)
    sql("update runs set lease_until = 1")
    assert list_abandoned() == []


@pytest.mark.parametrize("until", [1.0, 9e9])
def test_live_local_process_keeps_its_run_with_any_lease(ledger, sql, terms, list_abandoned, until):
    """On the same host the process decides, not a lease that expired long ago or ends in the far future."""
    ledger.runs.begin(terms)
    sql("update runs set lease_until = :until", until=until)
    assert list_abandoned() == []
    assert ledger.runs.adopt(terms.run) is False
    assert ledger.runs.heartbeat(terms.run) is True


@pytest.mark.parametrize("until", [1.0, 9e9])
def test_run_of_a_dead_local_process_is_abandoned_with_any_lease(other_process, sql, list_abandoned, until):
    """On the same host a lease that has not expired does not protect the run of a process that has ended."""
    other_process.kill()
    other_process.wait(20)
    sql("update runs set lease_until = :until", until=until)
    assert list_abandoned() == ["killed"]


def test_reused_pid_is_another_process(ledger, sql, terms, list_abandoned):
    """The start time of the process differs from the stored one, so the run is abandoned."""
    ledger.runs.begin(terms)
    sql("update runs set born = '1'")
    assert list_abandoned() == [terms.run]


def test_owner_without_a_start_time_is_compared_by_pid():
    """Where the system does not report start times, a pid that is in use counts as the same process."""
    owner = current_process()
    assert Owner(owner.host, owner.pid, "").has_ended is False
    assert owner.has_ended is False


@pytest.mark.parametrize(("seconds_left", "is_abandoned"), [(LEASE_SECONDS / 2, False), (-1.0, True)])
def test_run_of_another_host_is_abandoned_when_its_lease_expires(
    ledger, sql, terms, list_abandoned, seconds_left, is_abandoned
):
    """A process on another host cannot be checked, so only its lease decides."""
    ledger.runs.begin(terms)
    sql("update runs set host = 'elsewhere', lease_until = :until", until=time.time() + seconds_left)
    assert list_abandoned() == [terms.run] * is_abandoned
    assert ledger.runs.adopt(terms.run) is is_abandoned


def test_heartbeat_renews_the_lease(ledger, sql, terms):
    """The new lease ends LEASE_SECONDS after the heartbeat."""
    ledger.runs.begin(terms)
    sql("update runs set lease_until = 1")
    before = time.time()
    assert ledger.runs.heartbeat(terms.run)
    ((until,),) = sql("select lease_until from runs")
    assert before + LEASE_SECONDS - 1 <= until <= time.time() + LEASE_SECONDS + 1


def test_heartbeat_returns_false_after_the_run_was_taken_over(ledger, sql, terms):
    """The new owner stays in the ledger."""
    ledger.runs.begin(terms)
    sql("update runs set host = 'elsewhere', pid = 1, lease_until = 9e9")
    assert ledger.runs.heartbeat(terms.run) is False
    assert sql("select host from runs") == [("elsewhere",)]


@pytest.mark.parametrize("method", ["forget", "release", "finish"])
def test_heartbeat_returns_false_after_the_run_has_ended(ledger, terms, method):
    ledger.runs.begin(terms)
    getattr(ledger.runs, method)(terms.run)
    assert ledger.runs.heartbeat(terms.run) is False


def test_released_run_can_be_adopted_while_its_process_lives(ledger, terms, list_abandoned):
    ledger.runs.begin(terms)
    ledger.runs.release(terms.run)
    assert list_abandoned() == [terms.run]
    assert ledger.runs.adopt(terms.run) is True
    assert list_abandoned() == []


def test_release_ignores_a_run_of_another_owner(ledger, sql, terms):
    """A process that has lost its run does not release it from the new owner."""
    ledger.runs.begin(terms)
    sql("update runs set host = 'elsewhere', lease_until = 9e9")
    ledger.runs.release(terms.run)
    assert sql("select host from runs") == [("elsewhere",)]


def test_forget_removes_the_run_and_its_claims(ledger, sql, make, terms):
    ledger.runs.begin(terms)
    ledger.claims.claim(terms, [make.plan()])
    ledger.runs.forget(terms.run)
    assert sql("select * from runs") == []
    later = vary(terms, run="later")
    ledger.runs.begin(later)
    assert ledger.claims.claim(later, [make.plan()]) == ["ours"]


def test_adopt_succeeds_in_one_of_several_threads(ledger, url, terms):
    ledger.runs.begin(terms)
    ledger.runs.release(terms.run)
    results, start = [], threading.Barrier(4)

    def adopt():
        with Ledger(url) as own_ledger:
            start.wait(20)
            results.append(own_ledger.runs.adopt(terms.run))

    threads = [threading.Thread(target=adopt) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    assert sorted(results) == [False, False, False, True]


@pytest.mark.parametrize("run", ["published", "unheard of"])
def test_adopt_refuses_published_and_unknown_runs(ledger, terms, run):
    ledger.runs.begin(vary(terms, run="published"))
    ledger.runs.finish("published")
    assert ledger.runs.adopt(run) is False


@pytest.mark.parametrize("other", [{"output": "/elsewhere"}, {"schema": "caption"}])
def test_list_abandoned_ignores_other_outputs_and_schemas(ledger, terms, list_abandoned, other):
    ledger.runs.begin(vary(terms, **other))
    ledger.runs.release(terms.run)
    assert list_abandoned() == []


def test_abandoned_runs_are_listed_oldest_first(ledger, terms, list_abandoned):
    """Their rows are published in the order in which the runs began."""
    for run in ("20261120T03-c", "20261120T01-a", "20261120T02-b"):
        ledger.runs.begin(vary(terms, run=run))
        ledger.runs.release(run)
    assert list_abandoned() == ["20261120T01-a", "20261120T02-b", "20261120T03-c"]


def test_finish_removes_reply_bodies_and_keeps_amounts(ledger, ledger_writer, sql, terms):
    """After publishing, the replies are in the tables, and the ledger keeps only costs and token counts."""
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve("1"))
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.finish(terms.run)
    query = "select reply, reserved_nano, cost_nano, prompt_tokens, volume from calls"
    assert sql(query) == [(None, 1_000_000_000, 935_000, 1750, 1)]
    assert sql("select count(published_at), max(volumes) from runs") == [(1, 1)]


def test_finish_keeps_reply_bodies_of_other_runs(ledger, ledger_writer, sql, terms):
    """The ledger holds the only copy of the replies of a run in progress."""
    for run in (terms.run, "other"):
        ledger.runs.begin(vary(terms, run=run))
    other = ledger_writer("other")
    other.settle(other.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.finish(terms.run)
    assert sql("select reply, volume from calls") == [('{"raw": 1}', None)]
    assert sql("select published_at from runs where run = 'other'") == [(None,)]


def test_count_volumes_returns_the_published_ones(ledger, terms):
    ledger.runs.begin(terms)
    assert ledger.runs.count_volumes(terms.run) == 0
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.mark_volume_published(terms.run, 2, ())
    assert ledger.runs.count_volumes(terms.run) == 2


@pytest.fixture
def orphaned_call(ledger, ledger_writer, make, terms):
    """A call of a published run whose document was not published, and whose reply is kept."""
    ledger.runs.begin(terms)
    calls = ledger_writer()
    for uri in ("/in/a.jpg", "/in/b.jpg"):
        calls.settle(calls.reserve(document=uri), reply=make.reply(logprobs=make.logprobs()))
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/b.jpg"})
    ledger.runs.finish(terms.run)
    return ledger.calls.orphaned_replies(terms)["request-/in/b.jpg"]


def publish_later_run(ledger, terms, used=()):
    """Publishes a later run that used the replies of these calls."""
    later = vary(terms, run="later", started_at=datetime.now(UTC))
    ledger.runs.begin(later)
    ledger.runs.mark_volume_published("later", 1, ())
    ledger.runs.finish("later", used)


def test_reply_of_an_unpublished_document_is_kept(orphaned_call, sql):
    """The body of the published document's reply is removed."""
    assert sql("select document, reply from calls order by call") == [("/in/a.jpg", None), ("/in/b.jpg", '{"raw": 1}')]
    assert sql(COUNT_TOKENS) == [(1, 1)]


def test_reply_is_removed_after_a_later_run_used_it(orphaned_call, ledger, sql, terms):
    """The later run's table has the body, so the ledger offers it to no other run."""
    publish_later_run(ledger, terms, [orphaned_call])
    assert ledger.calls.orphaned_replies(terms) == {}
    assert sql("select count(reply) from calls") == [(0,)]
    assert sql(COUNT_TOKENS) == [(0, 0)]
    assert sql("select bequeathed from runs order by run") == [(0,), (0,)]


def test_reply_used_twice_is_subtracted_once(orphaned_call, ledger, sql, terms):
    """The count of orphaned replies of its run ends at 0, not at -1."""
    publish_later_run(ledger, terms, [orphaned_call, orphaned_call])
    assert sql("select bequeathed from runs order by run") == [(0,), (0,)]


@pytest.mark.parametrize(("days", "count"), [(KEEP_REPLY_DAYS - 1, 1), (KEEP_REPLY_DAYS + 1, 0)])
def test_unused_reply_is_removed_after_keep_reply_days(orphaned_call, ledger, sql, terms, days, count):
    published = datetime.now(UTC) - timedelta(days=days)
    sql("update runs set published_at = :at", at=published.isoformat())
    publish_later_run(ledger, terms)
    assert sql("select count(reply) from calls") == [(count,)]
    assert sql(COUNT_TOKENS) == [(count, count)]
    assert len(ledger.calls.orphaned_replies(terms)) == count


def test_run_with_a_future_start_time_is_processed_as_usual(ledger, ledger_writer, sql, terms, list_abandoned):
    """After the clock was set back, a later run is found, taken over and published, and its costs count."""
    future_terms = vary(terms, started_at=datetime.now(UTC) + timedelta(days=400))
    ledger.runs.begin(future_terms)
    calls = ledger_writer()
    calls.settle(calls.reserve("1"), cost_usd=Decimal("0.5"))
    sql("update runs set lease_until = :until", until=time.time() + 400 * 86_400)
    assert list_abandoned() == []
    ledger.runs.release(terms.run)
    assert list_abandoned() == [terms.run]
    assert ledger.runs.adopt(terms.run)
    ledger.runs.mark_volume_published(terms.run, 1, ())
    ledger.runs.finish(terms.run)
    assert ledger.memory.means(terms).output_tokens == 40
    assert sql("select sum(held_nano) from days") == [(500_000_000,)]
