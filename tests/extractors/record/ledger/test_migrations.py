"""migrations.py: a ledger of an older version is migrated without loss, and one of a newer version is refused."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from support.runs import vary

from extractors.core.errors import ConfigurationError
from extractors.core.money import Means
from extractors.record.ledger import Ledger
from extractors.record.ledger.migrations import NEWEST

# A ledger of the first version, before leases and budgets, with a published and an unpublished run.
FIRST_VERSION = """
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
INSERT_CALL = (
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
OPEN_LEDGER = """
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
    """The path of a ledger of the first version."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode=wal")
        connection.executescript(FIRST_VERSION)
        connection.executemany(INSERT_CALL, [BLANK | {"at": DAYS[call["run"]]} | call for call in CALLS])
    return path


@pytest.fixture
def migrated_ledger(path):
    """The same ledger, opened by the current version."""
    with Ledger(f"sqlite:///{path}") as ledger:
        yield ledger


def select(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_new_ledger_has_the_newest_version(ledger, sql):
    assert sql("select version from ledger_version") == [(NEWEST,)]


def test_migrated_ledger_has_the_newest_version_and_schema(migrated_ledger, path):
    """It has the tables and columns of a new ledger."""
    assert select(path, "select version from ledger_version") == [(NEWEST,)]
    new = path.with_name("new.db")
    with Ledger(f"sqlite:///{new}"):
        pass
    query = "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c order by m.name, c.name"
    assert select(path, query) == select(new, query)


def test_migration_keeps_all_calls(path):
    """Their amounts are kept, and the bodies that were still stored."""
    query = "select run, call, outcome, billed, reserved_nano, cost_nano, reply from calls order by run, call"
    before = select(path, query)
    with Ledger(f"sqlite:///{path}"):
        pass
    assert select(path, query) == before
    assert len(before) == len(CALLS)


def test_migration_keeps_prices_and_rates(migrated_ledger, terms):
    assert str(migrated_ledger.memory.prices(terms.endpoint)["maker/model"].input) == "0.17"
    assert migrated_ledger.memory.rate(terms) == 17.5


def test_migration_computes_means_of_accepted_answers(migrated_ledger, terms):
    """Answers of published and unpublished runs count; those without a token count do not."""
    assert migrated_ledger.memory.means(terms) == Means(50, 1.5)


def test_migration_marks_calls_of_published_runs_as_published(migrated_ledger, path):
    assert list(migrated_ledger.calls.iter_unpublished("first")) == []
    assert select(path, "select distinct volume from calls where run = 'first'") == [(1,)]


def test_unpublished_run_of_the_first_version_is_not_taken_over(migrated_ledger):
    """Its calls lack columns that publishing needs; they stay in the ledger as unpublished."""
    assert migrated_ledger.runs.list_abandoned("/out", "slip") == []
    assert migrated_ledger.runs.adopt("second") is False
    assert [row["call"] for batch in migrated_ledger.calls.iter_unpublished("second") for row in batch] == [0, 1]


def test_migration_computes_amounts_held_by_day(migrated_ledger, path):
    """Costs and amounts with an unknown bill count for the day's budget."""
    held_by_day = [("2026-11-18", 3 * 900_000 + 2_512_000), ("2026-11-19", 900_000 + 2_512_000)]
    assert select(path, "select day, held_nano from days order by day") == held_by_day


def test_migrated_ledger_accepts_a_run(migrated_ledger, terms):
    """A run can begin in it and be published."""
    migrated_ledger.runs.begin(vary(terms, started_at=datetime.now(UTC)))
    migrated_ledger.runs.mark_volume_published(terms.run, 1, ())
    migrated_ledger.runs.finish(terms.run)
    assert migrated_ledger.runs.count_volumes(terms.run) == 1


def test_ledger_is_migrated_once(path):
    """Opening it again changes nothing."""
    for _ in range(2):
        with Ledger(f"sqlite:///{path}"):
            pass
    assert select(path, "select count, completion_tokens from answers") == [(3, 150)]


@pytest.mark.slow
def test_ledger_is_migrated_once_by_four_processes(path, spawn):
    """One process migrates it, and the others open the migrated ledger."""
    processes = [spawn(OPEN_LEDGER, f"sqlite:///{path}") for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    [print(file=process.stdin, flush=True) for process in processes]
    assert [process.stdout.readline() for process in processes] == ["opened\n"] * 4
    assert select(path, "select count, completion_tokens from answers") == [(3, 150)]


def test_failed_migration_is_rolled_back(path):
    """It fails because the database already has a table of the new version."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table answers (wrong integer)")
    query = "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c order by m.name, c.name"
    before = select(path, query)
    with pytest.raises(ConfigurationError, match="cannot be opened"), Ledger(f"sqlite:///{path}"):
        pass
    assert select(path, query) == before


def test_shards_of_version_3_have_no_skipped_documents(ledger, url, sql, terms):
    """Version 3 did not store how many documents of a shard were skipped."""
    ledger.runs.begin(terms)
    ledger.shards.begin(terms.run, 0, 7)
    sql("alter table shards drop column skipped")
    sql("update ledger_version set version = 3")
    with Ledger(url) as migrated_ledger:
        assert [(attempt.writer, attempt.skipped) for attempt in migrated_ledger.shards.list_attempts(terms.run)] == [
            (7, 0)
        ]


def test_orphaned_replies_of_version_5_have_no_tokens(ledger, url, sql, ledger_writer, make, terms):
    """The reply is reused without tokens, and the tables of the new version exist."""
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/a.jpg"})
    ledger.runs.finish(terms.run)
    for column in ("tokens", "token_logprobs"):
        sql(f"alter table calls drop column {column}")
    for table in ("tunings", "logprob_refusals"):
        sql(f"drop table {table}")
    sql("update ledger_version set version = 5")
    with Ledger(url) as migrated_ledger:
        (call,) = migrated_ledger.calls.orphaned_replies(terms).values()
        assert migrated_ledger.calls.stored_reply(call) == ('{"raw": 1}', None)
        migrated_ledger.memory.keep_tuning(terms.fingerprint, terms.run, "{}")
        assert migrated_ledger.memory.logprob_refusal(terms.fingerprint) is None


def test_newer_ledger_is_refused(ledger, url, sql):
    """The error says what to do, and the ledger is left unchanged."""
    sql("update ledger_version set version = 99")
    with pytest.raises(ConfigurationError) as caught, Ledger(url):
        pass
    expected = (
        f"cannot be opened: it has version 99, and this tilewise supports versions up to {NEWEST}: update tilewise"
    )
    assert expected in caught.value.message
    assert sql("select version from ledger_version") == [(99,)]
