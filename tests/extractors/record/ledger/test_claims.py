"""claims.py: runs at the same time pay for each document once, in any order of their beginnings and ends."""

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
def begun(ledger, terms):
    """Begins runs of this process, each now unless said otherwise; gives their terms."""

    def begin(run, **changes):
        made = vary(terms, **{"run": run, "started_at": datetime.now(UTC)} | changes)
        ledger.runs.begin(made)
        return made

    return begin


def test_a_document_is_taken_once(ledger, begun):
    """The first run that claims it has it, every other leaves it to it."""
    one, two = begun("one"), begun("two")
    assert ledger.claims.claim(one, plans([A, B])) == ["ours", "ours"]
    assert ledger.claims.claim(two, plans([A, C, B])) == ["theirs", "ours", "theirs"]


def test_a_claim_can_be_made_again(ledger, begun):
    """What is ours stays ours."""
    one = begun("one")
    assert ledger.claims.claim(one, plans([A])) == ledger.claims.claim(one, plans([A])) == ["ours"]


def test_a_document_may_be_claimed_twice_at_once(ledger, begun):
    """A manifest may name an image more than once."""
    assert ledger.claims.claim(begun("one"), plans([A, B, A])) == ["ours", "ours", "ours"]


@pytest.mark.slow
def test_as_many_documents_as_one_likes_are_claimed_at_once(ledger, begun):
    """Whatever the database allows in one statement."""
    names = [(f"/in/{number}.jpg", "1") for number in range(70_000)]
    one = begun("one")
    assert ledger.claims.claim(one, plans(names)).count("ours") == 70_000
    ledger.claims.release(one, names)
    assert ledger.claims.claim(begun("two"), plans(names[-1:])) == ["ours"]


@pytest.mark.parametrize("other", [{"output": "/elsewhere"}, {"schema": "caption"}])
def test_another_output_or_schema_has_marks_of_its_own(ledger, begun, other):
    """There the document is another row."""
    ledger.claims.claim(begun("one"), plans([A]))
    assert ledger.claims.claim(begun("two", **other), plans([A])) == ["ours"]


@pytest.mark.parametrize("other", [("/in/a.jpg", "2"), ("/in/a.jpg", None), ("/in/a.jp", "g1")])
def test_another_version_is_another_document(ledger, begun, other):
    ledger.claims.claim(begun("one"), plans([A]))
    assert ledger.claims.claim(begun("two"), plans([other])) == ["ours"]


def test_a_document_of_a_run_that_ended_meanwhile_is_done(ledger, begun):
    """It was not in the tables when this run looked, and it is now."""
    one, two = begun("one"), begun("two")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    assert ledger.claims.claim(two, plans([A, B])) == ["done", "ours"]


def test_a_document_of_a_run_that_ended_before_is_not_marked(ledger, begun):
    """Who begins after its end finds it in the tables, and may be asked to read it again."""
    one = begun("one")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    assert ledger.claims.claim(begun("two"), plans([A])) == ["ours"]


def test_marks_stay_while_anybody_may_stumble_over_them(ledger, begun, sql):
    """The marks of an ended run go when the last run has ended that began before its end."""
    one, two = begun("one"), begun("two")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    three = begun("three")
    ledger.claims.claim(three, plans([B]))
    ledger.runs.finish("three")
    assert ledger.claims.claim(two, plans([A, B])) == ["done", "done"]
    ledger.runs.finish("two")
    assert sql("select * from marks") == []


def test_a_later_run_keeps_no_marks_of_an_earlier_one(ledger, begun, sql):
    """It found everything in the tables."""
    one = begun("one")
    ledger.claims.claim(one, plans([A]))
    two, three = begun("two"), begun("three")
    ledger.runs.finish("one")
    ledger.runs.finish("two")
    four = begun("four")
    ledger.claims.claim(four, plans([B]))
    ledger.runs.finish("three")
    assert sql("select run from marks") == [("four",)]
    assert (two.run, three.run) == ("two", "three")


def test_what_was_done_before_a_run_began_may_be_read_again_by_it(ledger, begun):
    """It looked at the tables after that, and knows better: a third run that is still at work changes nothing."""
    one, still = begun("one"), begun("still")
    ledger.claims.claim(one, plans([A, B]))
    ledger.runs.finish("one")
    two = begun("two")
    assert ledger.claims.claim(two, plans([A])) == ["ours"]
    assert ledger.claims.claim(still, plans([A, B])) == ["theirs", "done"]


def test_the_run_under_way_keeps_its_marks_when_another_ends(ledger, begun):
    one, two = begun("one"), begun("two")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("two")
    assert ledger.claims.claim(begun("three"), plans([A])) == ["theirs"]
    assert two.run == "two"


def test_a_document_that_was_freed_is_for_the_next(ledger, begun):
    """The run did not end with it; what else it has taken stays taken."""
    one, two = begun("one"), begun("two")
    ledger.claims.claim(one, plans([A, B]))
    ledger.claims.release(one, [A])
    ledger.runs.finish("one")
    assert ledger.claims.claim(two, plans([A, B])) == ["ours", "done"]


def test_nobody_frees_what_another_has_taken(ledger, begun):
    one, two = begun("one"), begun("two")
    ledger.claims.claim(one, plans([A]))
    ledger.claims.release(two, [A])
    ledger.claims.release(two, [])
    assert ledger.claims.claim(two, plans([A])) == ["theirs"]


def test_a_dead_run_that_nobody_took_over_keeps_its_documents(ledger, begun):
    """Whether it came to an end with them is seen when it is taken over."""
    one = begun("one")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.release("one")
    assert ledger.claims.claim(begun("two"), plans([A])) == ["theirs"]


def test_a_dead_run_makes_no_marks_stay(ledger, begun, sql):
    """Only who is at work can still come to a document."""
    begun("dead")
    ledger.runs.release("dead")
    one = begun("one")
    ledger.claims.claim(one, plans([A]))
    ledger.runs.finish("one")
    assert sql("select * from marks") == []


def test_of_a_run_that_was_taken_over_only_what_came_to_an_end_stays_marked(ledger, begun):
    """The other documents that it had taken are free, sent or not."""
    two, dead = begun("two"), begun("dead")
    ledger.claims.claim(dead, plans([A, B, C]))
    ledger.claims.keep_only(dead, [C])
    ledger.runs.finish("dead")
    assert ledger.claims.claim(two, plans([A, B, C])) == ["ours", "ours", "done"]


def test_a_clock_that_jumps_back_makes_nobody_pay_twice(ledger, begun):
    """A run that ended at an earlier time than another began may still have ended after it: its marks stay."""
    one, two = begun("one", started_at=datetime.now(UTC) + timedelta(hours=1)), begun("two")
    ledger.claims.claim(two, plans([A]))
    ledger.runs.finish("two")
    assert ledger.claims.claim(one, plans([A])) == ["done"]


def test_two_runs_at_once_share_a_folder(ledger, url, begun):
    """Each document is one run's, in whatever order they come to them."""
    names = [(f"/in/{number}.jpg", "1") for number in range(2_000)]
    runs, claims, start = [begun("one"), begun("two")], {}, threading.Barrier(2)

    def claim(terms, names):
        with Ledger(url) as mine:
            start.wait(20)
            chunks = [names[first : first + 100] for first in range(0, len(names), 100)]
            found = [mine.claims.claim(terms, plans(chunk)) for chunk in chunks]
        claims[terms.run] = {
            name
            for chunk, said in zip(chunks, found, strict=True)
            for name, each in zip(chunk, said, strict=True)
            if each == "ours"
        }

    threads = [threading.Thread(target=claim, args=each) for each in zip(runs, (names, names[::-1]), strict=True)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert claims["one"] | claims["two"] == set(names)
    assert not claims["one"] & claims["two"]


@pytest.mark.postgres
def test_a_mark_that_goes_while_it_is_looked_at_is_left_for_the_next_run(postgres, terms):
    """Neither ours nor an error: whoever had it has freed it in this instant. SQLite has one writer at a time."""
    one, two = vary(terms, run="one"), vary(terms, run="two")
    with Ledger(postgres()) as ledger:
        ledger.runs.begin(one)
        ledger.runs.begin(two)
        ledger.claims.claim(one, plans([A]))
        engine = ledger.claims.database._engine

        def frees(connection, cursor, statement, *rest):
            if statement.startswith("INSERT INTO marks"):
                ledger.claims.release(one, [A])

        sa.event.listen(engine, "after_cursor_execute", frees)
        assert ledger.claims.claim(two, plans([A])) == ["theirs"]


def test_a_ledger_that_breaks_is_said(ledger, begun, sql):
    one = begun("one")
    sql("drop table marks")
    with pytest.raises(LedgerError):
        ledger.claims.claim(one, plans([A]))
