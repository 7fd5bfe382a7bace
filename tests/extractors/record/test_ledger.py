"""ledger.py: what is noted is there for everybody at once, exact, and outlives the process that noted it."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from extractors.errors import ConfigurationError, LedgerError
from extractors.money import Price
from extractors.record.ledger import Ledger, Means
from extractors.record.scribe import Scribe

ADDED_BY_REPLY = (
    "seconds, http_status, outcome, billed, model_returned, prompt_tokens, cached_tokens, completion_tokens,"
    " reasoning_tokens, cost_nano, request_id, reply"
)
# A process that notes an intent, says so, and then waits to be killed.
INTENDS = """
import sys
from datetime import UTC, datetime
from decimal import Decimal
from extractors.model import Order, Step, Terms
from extractors.record.ledger import Ledger
from extractors.record.scribe import Scribe
from extractors.tiles import Size

now = datetime.now(UTC)
terms = Terms("run-killed", now, "/in", "/out", "https://api.example/v1", "maker/model", "slip", "", "", "", "table")
with Ledger(sys.argv[1]) as ledger:
    ledger.begin(terms)
    order = Order("/in/a.jpg", "key", 0, (Step(1, Size(560, 448), 1601),), 100, 2000, 128, 512)
    ledger.write([Scribe(ledger, terms).intent(0, order, 1, Decimal("0.25"))], [])
    print("noted", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
        yield opened


HANDLES = itertools.count()


def intend(ledger, order, number, reserved, terms):
    """Notes one intent in a group of its own; how to find it again."""
    scribe, handle = Scribe(ledger, terms, 7), next(HANDLES)
    ledger.write([scribe.intent(handle, order, number, reserved)], [])
    return scribe, handle


def settle(ledger, noted, attempt):
    """Notes the end of one call in a group of its own."""
    scribe, handle = noted
    ledger.write([], [scribe.reply(handle, attempt)])


def rows(path, query):
    """What anybody else sees in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_an_intent_is_there_before_its_call(ledger, path, nouns, terms):
    """As soon as an intent is noted, a second reader of the file sees it, without a reply."""
    _, handle = intend(ledger, nouns.order(), 1, Decimal("0.002512"), terms)
    known = (
        "call, run, document, key, attempt, schema, endpoint, model_requested, bill_rule, rung,"
        " estimated_image_tokens, estimated_prompt_tokens, reserved_nano"
    )
    assert rows(path, f"select {known} from calls") == [
        (
            handle,
            terms.run,
            "/in/a.jpg",
            "key-/in/a.jpg",
            1,
            "slip",
            "https://api.example/v1",
            "maker/model",
            "table",
            1,
            1601,
            1701,
            2_512_000,
        )
    ]


def test_an_intent_without_a_reply_keeps_its_nulls(ledger, path, nouns, terms):
    """What nobody knows yet is null, never 0."""
    intend(ledger, nouns.order(), 1, None, terms)
    assert rows(path, f"select reserved_nano, {ADDED_BY_REPLY} from calls") == [(None,) * 13]


def test_an_intents_time_is_utc(ledger, path, nouns, terms):
    """The day of an intent is the UTC day, whatever the machine's zone."""
    before = datetime.now(UTC)
    intend(ledger, nouns.order(), 1, None, terms)
    ((noted,),) = rows(path, "select started_at from calls")
    assert before <= datetime.fromisoformat(noted) <= datetime.now(UTC)
    assert noted.endswith("+00:00")


def test_a_reply_is_there_the_moment_it_arrived(ledger, path, nouns, terms):
    """A settled call has its amounts and its whole body, for every reader of the file."""
    handle = intend(ledger, nouns.order(), 1, Decimal("0.002512"), terms)
    settle(ledger, handle, nouns.attempt())
    assert rows(path, f"select {ADDED_BY_REPLY} from calls") == [
        (1.5, 200, "accepted", "yes", "maker/model-2", 1750, 64, 40, 8, 935_000, "req-1", '{"raw": 1}')
    ]


def test_a_call_that_ended_without_a_reply_says_so(ledger, path, nouns, terms):
    """A timeout has an outcome and an unknown bill, and no reply."""
    settle(ledger, intend(ledger, nouns.order(), 1, None, terms), nouns.unanswered())
    assert rows(path, "select outcome, billed, reply, cost_nano from calls") == [("timeout", "unknown", None, None)]


def test_a_reply_settles_its_own_call_alone(ledger, path, nouns, terms):
    """Of two calls under way each is settled by its handle."""
    first = intend(ledger, nouns.order("/in/a.jpg"), 1, None, terms)
    second = intend(ledger, nouns.order("/in/b.jpg"), 1, None, terms)
    settle(ledger, second, nouns.attempt())
    assert first != second
    assert rows(path, "select document, outcome from calls order by call") == [
        ("/in/a.jpg", None),
        ("/in/b.jpg", "accepted"),
    ]


@pytest.mark.parametrize(
    ("amount", "nano"),
    [("0", 0), ("0.000000001", 1), ("0.1", 100_000_000), ("1234567.123456789", 1_234_567_123_456_789)],
)
def test_money_is_exact_to_the_nanodollar(ledger, path, nouns, terms, amount, nano):
    """Amounts are whole nanodollars: nothing is lost on the way through a database without decimals."""
    settle(
        ledger,
        intend(ledger, nouns.order(), 1, Decimal(amount), terms),
        nouns.attempt(cost_usd=Decimal(amount)),
    )
    assert rows(path, "select reserved_nano, cost_nano, typeof(cost_nano) from calls") == [(nano, nano, "integer")]


def test_a_run_is_noted_with_its_process(ledger, path, terms):
    """A run that begins is known with the process that runs it, and is not published yet."""
    ledger.begin(terms)
    query = "select run, schema, source, output, started_at, pid, published_at from runs"
    assert rows(path, query) == [(terms.run, "slip", "/in", "/out", terms.started_at.isoformat(), os.getpid(), None)]


def test_a_published_run_keeps_amounts_without_bodies(ledger, path, nouns, terms):
    """After publishing the answers are in the tables, and the money stays in the ledger."""
    ledger.begin(terms)
    settle(ledger, intend(ledger, nouns.order(), 1, Decimal(1), terms), nouns.attempt())
    ledger.end(terms)
    query = "select reply, reserved_nano, cost_nano, prompt_tokens, published_at is not null from calls join runs"
    assert rows(path, query) == [(None, 1_000_000_000, 935_000, 1750, 1)]


def test_publishing_one_run_leaves_the_others_bodies(ledger, path, nouns, terms):
    """Bodies of a run that is still under way are all that it has."""
    other = replace(terms, run="other")
    ledger.begin(terms)
    ledger.begin(other)
    settle(ledger, intend(ledger, nouns.order(), 1, None, other), nouns.attempt())
    ledger.end(terms)
    assert rows(path, "select reply from calls where run = 'other'") == [('{"raw": 1}',)]
    assert rows(path, "select published_at from runs where run = 'other'") == [(None,)]


def test_the_file_is_in_write_ahead_mode(ledger, path):
    """Readers of the file do not wait for the run that writes it."""
    assert rows(path, "pragma journal_mode") == [("wal",)]


def test_what_was_noted_is_there_after_closing(url, nouns, terms):
    """A ledger that is opened again goes on where it was."""
    with Ledger(url) as ledger:
        settle(ledger, intend(ledger, nouns.order(), 1, None, terms), nouns.attempt())
    with Ledger(url) as ledger:
        assert ledger.means(terms) == Means(40, 1.5)


def test_two_ledgers_share_one_file(ledger, url, path, nouns, terms):
    """Two runs note their calls in one file, and none is lost or numbered twice."""
    other_terms = replace(terms, run="other")
    with Ledger(url) as other:
        handles = [
            intend(ledger, nouns.order(), 1, None, terms),
            intend(other, nouns.order(), 1, None, other_terms),
            intend(ledger, nouns.order(), 2, None, terms),
        ]
        settle(other, handles[1], nouns.attempt())
    assert len({number for _, number in handles}) == 3
    assert rows(path, "select run, attempt, outcome from calls order by call") == [
        (terms.run, 1, None),
        ("other", 1, "accepted"),
        (terms.run, 2, None),
    ]


def test_a_second_writer_waits(ledger, url, path, nouns, terms):
    """While another process writes, a note waits for its turn rather than being lost."""

    def note():
        with Ledger(url) as other:
            intend(other, nouns.order(), 1, None, terms)

    writer = threading.Thread(target=note)
    with closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("begin immediate")
        writer.start()
        writer.join(0.3)
        waited = writer.is_alive()
        busy.execute("commit")
    writer.join(20)
    assert waited
    assert rows(path, "select count(*) from calls") == [(1,)]


def test_a_killed_process_has_its_intent_in_the_ledger(url, path):
    """What was noted before SIGKILL is there after it."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTENDS, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with process:
        noted = process.stdout.readline()
        process.kill()
    assert (noted, process.returncode) == ("noted\n", -signal.SIGKILL)
    query = "select document, reserved_nano, outcome from calls where run = 'run-killed'"
    assert rows(path, query) == [("/in/a.jpg", 250_000_000, None)]


def test_the_means_are_those_of_accepted_answers(ledger, nouns, terms):
    """Output tokens and seconds are averaged over answers of this endpoint, schema and model that were accepted."""
    short, long = (nouns.reply(usage=replace(nouns.reply().usage, completion=tokens)) for tokens in (40, 61))
    settle(ledger, intend(ledger, nouns.order(), 1, None, terms), nouns.attempt(reply=short, seconds=1.0))
    settle(ledger, intend(ledger, nouns.order(), 1, None, terms), nouns.attempt(reply=long, seconds=2.0))
    settle(ledger, intend(ledger, nouns.order(), 1, None, terms), nouns.attempt(outcome="refused", seconds=90.0))
    intend(ledger, nouns.order(), 1, None, terms)
    assert ledger.means(terms) == Means(50, 1.5)


@pytest.mark.parametrize("other", [{"schema": "caption"}, {"model": "maker/other"}, {"endpoint": "offline"}])
def test_means_of_something_else_are_unknown(ledger, nouns, terms, other):
    """Another schema, model or endpoint says nothing about this one."""
    settle(ledger, intend(ledger, nouns.order(), 1, None, terms), nouns.attempt())
    assert ledger.means(replace(terms, **other)) == Means(None, None)


def test_prices_are_kept_with_the_day(ledger):
    """The server's prices are read back to the digit, with the day on which they were seen."""
    price = Price(Decimal("0.17"), Decimal("0.25"), Decimal("0.0600"))
    before = datetime.now(UTC).date()
    ledger.keep_prices("https://api.example/v1", {"maker/model": price})
    kept = ledger.prices("https://api.example/v1")["maker/model"]
    assert replace(kept, as_of=None) == price
    assert before <= kept.as_of <= datetime.now(UTC).date()
    assert isinstance(kept.as_of, date)


def test_a_price_without_a_cached_one_stays_without(ledger):
    """A cached price that the server does not name is not made up."""
    ledger.keep_prices("here", {"maker/model": Price(Decimal(1), Decimal(2))})
    assert ledger.prices("here")["maker/model"].cached is None


def test_prices_are_those_seen_last(ledger):
    """A model that the server lists no more has no price, and another endpoint's list is untouched."""
    ledger.keep_prices("here", {"old": Price(Decimal(1), Decimal(2))})
    ledger.keep_prices("there", {"other": Price(Decimal(3), Decimal(4))})
    ledger.keep_prices("here", {"new": Price(Decimal(5), Decimal(6))})
    assert set(ledger.prices("here")) == {"new"}
    assert set(ledger.prices("there")) == {"other"}


def test_an_endpoint_that_lists_nothing_has_no_prices(ledger):
    """A server that stopped listing prices leaves none behind."""
    ledger.keep_prices("here", {"old": Price(Decimal(1), Decimal(2))})
    ledger.keep_prices("here", {})
    assert ledger.prices("here") == {}


def opened(path):
    with Ledger(f"sqlite:///{path}"):
        pass


def test_a_ledger_whose_folder_cannot_be_made_is_refused_by_name(tmp_path):
    """A file where a folder has to be is said in one line, before anything is spent."""
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(ConfigurationError) as caught:
        opened(tmp_path / "state" / "ledger.db")
    assert f"ledger '{tmp_path}/state/ledger.db' cannot be opened: " in caught.value.message
    assert "\n" not in caught.value.message


def test_a_ledger_that_is_a_folder_is_refused_by_name(tmp_path):
    """A folder at the ledger's path is said in one line."""
    with pytest.raises(ConfigurationError) as caught:
        opened(tmp_path)
    assert f"ledger '{tmp_path}' cannot be opened: " in caught.value.message


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    """Another file at the ledger's path is left as it is."""
    path = tmp_path / "ledger.db"
    path.write_text("these are the notes of somebody else, and long enough to be read as a page " * 10)
    with pytest.raises(ConfigurationError, match="not a database") as caught:
        opened(path)
    assert f"ledger '{path}' cannot be opened: " in caught.value.message
    assert path.read_text().startswith("these are the notes")


def test_a_ledger_that_breaks_stops_the_run(ledger, path, nouns, terms):
    """Nothing may be sent that the ledger would not know of: the error names the file and what is kept."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop table calls")
    with pytest.raises(LedgerError, match="calls already answered are kept") as caught:
        intend(ledger, nouns.order(), 1, None, terms)
    assert str(path) in caught.value.message


def test_a_broken_note_leaves_the_ledger_usable(ledger, path, nouns, terms):
    """A note that was refused holds no lock: the next one is written."""
    ledger.begin(terms)
    with pytest.raises(LedgerError):
        ledger.begin(terms)
    intend(ledger, nouns.order(), 1, None, terms)
    assert rows(path, "select count(*) from calls") == [(1,)]
