"""claims.py: concurrent runs pay for each document once, in any order in which they begin and end."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from support.runs import vary

from extractors.core import BilledPage, Found, Planned, PlannedPage
from extractors.core.errors import LedgerError
from extractors.record.ledger import Ledger

A, B, C = (("/in/a.jpg", "1"), ("/in/b.jpg", "1"), ("/in/c.jpg", None))


def plans(names):
    """Documents of these names and versions."""
    return [
        Planned(uri, (PlannedPage(BilledPage(Found(uri, version=version)), "send", "fits"),)) for uri, version in names
    ]


@pytest.fixture
def begin_run(ledger, terms):
    """Returns a function that begins a run of this process, by default now, and returns its run info."""

    def begin(run, **changes):
        info = vary(terms, **{"run": run, "started_at": datetime.now(UTC)} | changes)
        ledger.runs.begin(info)
        return info

    return begin


def test_document_is_claimed_by_one_run(ledger, begin_run):
    """The first run that claims a document owns it until that run ends."""
    one, two = begin_run("one"), begin_run("two")
    assert ledger.claims.claim(one, plans([A, B])) == ["ours", "ours"]
    assert ledger.claims.claim(two, plans([A, C, B])) == ["theirs", "ours", "theirs"]


def test_claim_can_be_repeated_by_its_run(ledger, begin_run):
    one = begin_run("one")
    assert ledger.claims.claim(one, plans([A])) == ledger.claims.claim(one, plans([A])) == ["ours"]


def test_claim_accepts_a_document_named_twice(ledger, begin_run):
    """A manifest may name an image more than once."""
    assert ledger.claims.claim(begin_run("one"), plans([A, B, A])) == ["ours", "ours", "ours"]


@pytest.mark.slow
def test_claim_accepts_more_documents_than_a_statement_has_parameters(ledger, begin_run):
    """Claims and releases of 70,000 documents are split into several statements."""
    names = [(f"/in/{number}.jpg", "1") for number in range(70_000)]
    one = begin_run("one")
    assert ledger.claims.claim(one, plans(names)).count("ours") == 70_000
    ledger.claims.release(one, names)
    assert ledger.claims.claim(begin_run("two"), plans(names[-1:])) == ["ours"]


@pytest.mark.parametrize("other", [{"output": "/elsewhere"}, {"schema": "caption"}])
def test_claims_are_separate_per_output_and_schema(ledger, begin_run, other):
    ledger.claims.claim(begin_run("one"), plans([A]))
    assert ledger.claims.claim(begin_run("two", **other), plans([A])) == ["ours"]


@pytest.mark.parametrize("other", [("/in/a.jpg", "2"), ("/in/a.jpg", None), ("/in/a.jp", "g1")])
def test_claims_are_separate_per_document_version(ledger, begin_run, other):
    ledger.claims.claim(begin_run("one"), plans([A]))
    assert ledger.claims.claim(begin_run("two"), plans([other])) == ["ours"]


def test_claim_returns_done_for_a_run_that_ended_meanwhile(ledger, begin_run):
    """The document was not yet in the tables when this run read them."""
    one, two = begin_run("one"), begin_run("two")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    assert ledger.claims.claim(two, plans([A, B])) == ["done", "ours"]


def test_claim_ignores_a_run_that_ended_before(ledger, begin_run):
    """A run that begins later finds the document in the tables, and may have been told to read it again."""
    one = begin_run("one")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    assert ledger.claims.claim(begin_run("two"), plans([A])) == ["ours"]


def test_marks_stay_until_all_concurrent_runs_have_ended(ledger, begin_run, sql):
    """The marks of an ended run are removed when the last run has ended that began before its end."""
    one, two = begin_run("one"), begin_run("two")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    three = begin_run("three")
    ledger.claims.claim(three, plans([B]))
    ledger.runs.finish("three")
    assert ledger.claims.claim(two, plans([A, B])) == ["done", "done"]
    ledger.runs.finish("two")
    assert sql("select * from marks") == []


def test_marks_are_removed_although_a_later_run_is_live(ledger, begin_run, sql):
    """A run that began after the end of another has found its documents in the tables."""
    one = begin_run("one")
    ledger.claims.claim(one, plans([A]))
    begin_run("two")
    begin_run("three")
    ledger.runs.finish("one")
    ledger.runs.finish("two")
    four = begin_run("four")
    ledger.claims.claim(four, plans([B]))
    ledger.runs.finish("three")
    assert sql("select run from marks") == [("four",)]


def test_later_run_claims_documents_of_an_ended_run_again(ledger, begin_run):
    """A third run, which is live throughout and keeps the marks, does not prevent it."""
    one, long_run = begin_run("one"), begin_run("still")
    ledger.claims.claim(one, plans([A, B]))
    ledger.runs.finish("one")
    two = begin_run("two")
    assert ledger.claims.claim(two, plans([A])) == ["ours"]
    assert ledger.claims.claim(long_run, plans([A, B])) == ["theirs", "done"]


def test_live_run_keeps_its_claims_when_another_run_ends(ledger, begin_run):
    one = begin_run("one")
    begin_run("two")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("two")
    assert ledger.claims.claim(begin_run("three"), plans([A])) == ["theirs"]


def test_released_document_can_be_claimed_by_another_run(ledger, begin_run):
    """Documents that were not released stay claimed."""
    one, two = begin_run("one"), begin_run("two")
    ledger.claims.claim(one, plans([A, B]))
    ledger.claims.release(one, [A])
    ledger.runs.finish("one")
    assert ledger.claims.claim(two, plans([A, B])) == ["ours", "done"]


def test_release_ignores_claims_of_another_run(ledger, begin_run):
    one, two = begin_run("one"), begin_run("two")
    ledger.claims.claim(one, plans([A]))
    ledger.claims.release(two, [A])
    ledger.claims.release(two, [])
    assert ledger.claims.claim(two, plans([A])) == ["theirs"]


def test_abandoned_run_keeps_its_claims_until_it_is_taken_over(ledger, begin_run):
    """Taking it over shows which of its documents have ended."""
    one = begin_run("one")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.release("one")
    assert ledger.claims.claim(begin_run("two"), plans([A])) == ["theirs"]


def test_abandoned_run_does_not_keep_marks_of_other_runs(ledger, begin_run, sql):
    """Only live runs can still claim a document."""
    begin_run("dead")
    ledger.runs.release("dead")
    one = begin_run("one")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    assert sql("select * from marks") == []


def test_keep_only_frees_documents_that_have_not_ended(ledger, begin_run):
    """After a takeover, claims without a result are free, sent or not."""
    two, abandoned_run = begin_run("two"), begin_run("dead")
    ledger.claims.claim(abandoned_run, plans([A, B, C]))
    ledger.claims.keep_only(abandoned_run, [C])
    ledger.runs.finish("dead")
    assert ledger.claims.claim(two, plans([A, B, C])) == ["ours", "ours", "done"]


def test_clock_set_back_does_not_remove_marks(ledger, begin_run):
    """A run whose end time is before the start time of another may still have ended after it, so its marks stay."""
    one, two = begin_run("one", started_at=datetime.now(UTC) + timedelta(hours=1)), begin_run("two")
    ledger.claims.claim(two, plans([A]))
    ledger.runs.finish("two")
    assert ledger.claims.claim(one, plans([A])) == ["done"]


def test_two_concurrent_runs_claim_each_document_once(ledger, url, begin_run):
    """The runs claim the documents in opposite order."""
    names = [(f"/in/{number}.jpg", "1") for number in range(2_000)]
    runs, claims, start = [begin_run("one"), begin_run("two")], {}, threading.Barrier(2)

    def claim(terms, names):
        with Ledger(url) as own_ledger:
            start.wait(20)
            chunks = [names[first : first + 100] for first in range(0, len(names), 100)]
            answers = [own_ledger.claims.claim(terms, plans(chunk)) for chunk in chunks]
        claims[terms.run] = {
            name
            for chunk, states in zip(chunks, answers, strict=True)
            for name, state in zip(chunk, states, strict=True)
            if state == "ours"
        }

    threads = [threading.Thread(target=claim, args=args) for args in zip(runs, (names, names[::-1]), strict=True)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert claims["one"] | claims["two"] == set(names)
    assert not claims["one"] & claims["two"]


@pytest.mark.postgres
def test_claim_skips_a_document_that_is_released_during_the_claim(postgres, terms):
    """The document counts as the other run's, without an error. SQLite has one writer at a time and no such race."""
    one, two = vary(terms, run="one"), vary(terms, run="two")
    with Ledger(postgres()) as ledger:
        ledger.runs.begin(one)
        ledger.runs.begin(two)
        ledger.claims.claim(one, plans([A]))
        engine = ledger.claims.database._engine

        def release_on_insert(connection, cursor, statement, *rest):
            if statement.startswith("INSERT INTO marks"):
                ledger.claims.release(one, [A])

        sa.event.listen(engine, "after_cursor_execute", release_on_insert)
        assert ledger.claims.claim(two, plans([A])) == ["theirs"]


def test_claim_raises_ledger_error_without_its_table(ledger, begin_run, sql):
    one = begin_run("one")
    sql("drop table marks")
    with pytest.raises(LedgerError):
        ledger.claims.claim(one, plans([A]))
