"""migrations.py: a ledger of an older version opens with all that it holds, one of a newer version is refused."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from support.runs import vary

from extractors.core.errors import ConfigurationError
from extractors.core.money import Means
from extractors.record.ledger import Ledger
from extractors.record.ledger.migrations import NEWEST

# A ledger as the version before leases and budgets made it, with a published run and one that was not.
FIRST = """
create table runs (
    run varchar not null, schema varchar not null, source varchar not null, output varchar not null,
    started_at varchar not null, host varchar not null, pid integer not null, published_at varchar, primary key (run)
);
create table calls (
    run varchar not null, writer integer not null, call integer not null, document varchar not null,
    "key" varchar not null, attempt integer not null, schema varchar not null, endpoint varchar not null,
    model_requested varchar not null, bill_rule varchar not null, rung integer, started_at varchar not null,
    estimated_image_tokens integer not null, estimated_prompt_tokens integer not null, reserved_nano bigint,
    seconds float, http_status integer, outcome varchar, billed varchar, model_returned varchar, prompt_tokens integer,
    cached_tokens integer, completion_tokens integer, reasoning_tokens integer, cost_nano bigint, request_id varchar,
    reply text, primary key (run, writer, call)
);
create table served_prices (
    endpoint varchar not null, model varchar not null, input varchar not null, output varchar not null,
    cached_input varchar, as_of varchar not null, primary key (endpoint, model)
);
create table rates (
    endpoint varchar not null, model varchar not null, calls_per_second float not null, seen_at varchar not null,
    primary key (endpoint, model)
);
insert into runs values
    ('first', 'slip', '/in', '/out', '2026-11-18T02:15:00+00:00', 'vm', 7, '2026-11-18T02:20:00+00:00'),
    ('second', 'slip', '/in', '/out', '2026-11-19T02:15:00+00:00', 'vm', 8, null);
insert into served_prices values ('https://api.example/v1', 'maker/model', '0.17', '0.25', null, '2026-11-01');
insert into rates values ('https://api.example/v1', 'maker/model', 17.5, '2026-11-19T02:16:00+00:00');
"""
CALL = (
    "insert into calls values (:run, 1, :call, '/in/a.jpg', 'key', 1, 'slip', 'https://api.example/v1', 'maker/model',"
    " 'table', 1, :at, 1601, 1701, 2512000, :seconds, 200, :outcome, :billed, 'maker/model', 1750, 0, :tokens, 0,"
    " :cost, 'req', :reply)"
)
CALLS = [
    {"run": "first", "call": 0, "outcome": "accepted", "billed": "yes", "tokens": 40, "seconds": 1.0, "cost": 900_000},
    {"run": "first", "call": 1, "outcome": "accepted", "billed": "yes", "tokens": 60, "seconds": 2.0, "cost": 900_000},
    {"run": "first", "call": 2, "outcome": "refused", "billed": "yes", "tokens": 999, "seconds": 9.0, "cost": 900_000},
    {"run": "first", "call": 3, "outcome": "accepted", "billed": "unknown", "seconds": 9.0},
    {"run": "first", "call": 4, "outcome": "capacity", "billed": "no", "seconds": 9.0, "cost": 0},
    {
        "run": "second",
        "call": 0,
        "outcome": "accepted",
        "billed": "yes",
        "tokens": 50,
        "seconds": 1.5,
        "cost": 900_000,
        "reply": "{}",
    },
    {"run": "second", "call": 1},
]
BLANK = dict.fromkeys(("outcome", "billed", "tokens", "seconds", "cost", "reply"))
DAYS = {"first": "2026-11-18T02:16:00+00:00", "second": "2026-11-19T02:16:00+00:00"}
OPENS = """
import sys
from extractors.record.ledger import Ledger

print("ready", flush=True)
sys.stdin.readline()
with Ledger(sys.argv[1]):
    pass
print("opened", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    """A ledger as the version before made it."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode=wal")
        connection.executescript(FIRST)
        connection.executemany(CALL, [BLANK | {"at": DAYS[each["run"]]} | each for each in CALLS])
    return path


@pytest.fixture
def old(path):
    """The same, opened by this version."""
    with Ledger(f"sqlite:///{path}") as ledger:
        yield ledger


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_new_ledger_is_of_the_newest_version(ledger, sql):
    assert sql("select version from ledger_version") == [(NEWEST,)]


def test_an_older_ledger_becomes_one_of_the_newest_version(old, path):
    """With the tables and columns that a new one has."""
    assert rows(path, "select version from ledger_version") == [(NEWEST,)]
    new = path.with_name("new.db")
    with Ledger(f"sqlite:///{new}"):
        pass
    query = "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c order by m.name, c.name"
    assert rows(path, query) == rows(new, query)


def test_an_older_ledger_keeps_every_call(path):
    """With its money, and the bodies that were still there."""
    query = "select run, call, outcome, billed, reserved_nano, cost_nano, reply from calls order by run, call"
    before = rows(path, query)
    with Ledger(f"sqlite:///{path}"):
        pass
    assert rows(path, query) == before
    assert len(before) == len(CALLS)


def test_an_older_ledger_keeps_prices_and_rates(old, terms):
    assert str(old.memory.prices(terms.endpoint)["maker/model"].input) == "0.17"
    assert old.memory.rate(terms) == 17.5


def test_the_means_of_an_older_ledger_are_those_of_all_accepted_answers(old, terms):
    """Published or not; an answer without a count says nothing."""
    assert old.memory.means(terms) == Means(50, 1.5)


def test_what_an_older_run_published_is_not_published_again(old, path):
    """Its calls are in the tables."""
    assert list(old.calls.iter_unpublished("first")) == []
    assert rows(path, "select distinct volume from calls where run = 'first'") == [(1,)]


def test_an_older_run_that_was_not_published_is_not_taken_over(old):
    """Its rows lack what a published call needs; what it paid stays with the calls that no table has."""
    assert old.runs.list_abandoned("/out", "slip") == []
    assert old.runs.adopt("second") is False
    assert [row["call"] for batch in old.calls.iter_unpublished("second") for row in batch] == [0, 1]


def test_an_older_ledger_holds_what_its_days_have_spent(old, path):
    """So the day's budget counts what was spent before the change of version: costs, and what may have been billed."""
    held = [("2026-11-18", 3 * 900_000 + 2_512_000), ("2026-11-19", 900_000 + 2_512_000)]
    assert rows(path, "select day, held_nano from days order by day") == held


def test_an_older_ledger_works_on(old, terms):
    """A run begins in it, and is published."""
    old.runs.begin(vary(terms, started_at=datetime.now(UTC)))
    old.runs.mark_volume_published(terms.run, 1, ())
    old.runs.finish(terms.run)
    assert old.runs.count_volumes(terms.run) == 1


def test_an_older_ledger_is_brought_up_to_date_once(path):
    """Opening it again changes nothing."""
    for _ in range(2):
        with Ledger(f"sqlite:///{path}"):
            pass
    assert rows(path, "select count, completion_tokens from answers") == [(3, 150)]


@pytest.mark.slow
def test_an_older_ledger_may_be_opened_by_many_at_once(path, spawn):
    """The first to come brings it up to date, and all the others find it so."""
    processes = [spawn(OPENS, f"sqlite:///{path}") for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    [print(file=process.stdin, flush=True) for process in processes]
    assert [process.stdout.readline() for process in processes] == ["opened\n"] * 4
    assert rows(path, "select count, completion_tokens from answers") == [(3, 150)]


def test_a_step_that_fails_leaves_the_ledger_as_it_was(path):
    """Half of a change is none: here a table of the new version is in the way."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table answers (wrong integer)")
    query = "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c order by m.name, c.name"
    before = rows(path, query)
    with pytest.raises(ConfigurationError, match="cannot be opened"), Ledger(f"sqlite:///{path}"):
        pass
    assert rows(path, query) == before


def test_the_shards_of_an_older_ledger_are_kept(ledger, url, sql, terms):
    """Of the version before they said how many of their documents were done already."""
    ledger.runs.begin(terms)
    ledger.shards.begin(terms.run, 0, 7)
    sql("alter table shards drop column skipped")
    sql("update ledger_version set version = 3")
    with Ledger(url) as opened:
        assert [(each.writer, each.skipped) for each in opened.shards.list_attempts(terms.run)] == [(7, 0)]


def test_calls_of_the_version_before_tokens_are_kept(ledger, url, sql, ledger_writer, make, terms):
    """An answer that waits for its document is reused without tokens; the version's tables are there."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/a.jpg"})
    ledger.runs.finish(terms.run)
    for column in ("tokens", "token_logprobs"):
        sql(f"alter table calls drop column {column}")
    for table in ("tunings", "logprob_refusals"):
        sql(f"drop table {table}")
    sql("update ledger_version set version = 5")
    with Ledger(url) as opened:
        (call,) = opened.calls.orphaned_replies(terms).values()
        assert opened.calls.stored_reply(call) == ('{"raw": 1}', None)
        opened.memory.keep_tuning(terms.fingerprint, terms.run, "{}")
        assert opened.memory.logprob_refusal(terms.fingerprint) is None


def test_a_newer_ledger_is_refused(ledger, url, sql):
    """The error says what to do, and the ledger is left as it is."""
    sql("update ledger_version set version = 99")
    with pytest.raises(ConfigurationError) as caught, Ledger(url):
        pass
    said = f"cannot be opened: it has version 99, and this tilewise supports versions up to {NEWEST}: update tilewise"
    assert said in caught.value.message
    assert sql("select version from ledger_version") == [(99,)]
