"""database.py: database errors name the ledger and what to do, and no stored data is lost."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.runs import vary

from extractors.core.errors import ConfigurationError, LedgerError
from extractors.core.money import Means
from extractors.record.ledger import Ledger
from extractors.record.ledger.database import Database

# A process that opens a ledger when it reads a line.
OPEN_LEDGER = """
import sys
from extractors.record.ledger import Ledger

print("ready", flush=True)
sys.stdin.readline()
with Ledger(sys.argv[1]) as ledger:
    ledger.runs.list_abandoned("/out", "slip")
print("opened", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    """The path of a ledger file that does not exist yet."""
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def file_ledger(path):
    """An open ledger in a SQLite file."""
    with Ledger(f"sqlite:///{path}") as ledger:
        yield ledger


def open_ledger(path, patience=30.0):
    with Ledger(f"sqlite:///{path}", patience):
        pass


def test_file_is_in_write_ahead_mode(file_ledger, path):
    """Readers do not wait for the run that writes to the file."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma journal_mode").fetchall() == [("wal",)]


def test_stored_calls_are_read_by_a_ledger_opened_later(url, make, ledger_writer, ledger, terms):
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, ())
    with Ledger(url) as second_ledger:
        assert second_ledger.memory.means(terms) == Means(40, 1.5)


@pytest.mark.slow
def test_new_ledger_is_opened_by_four_processes_at_once(url, spawn):
    """One process creates the tables, and the others find them."""
    processes = [spawn(OPEN_LEDGER, url) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    [print(file=process.stdin, flush=True) for process in processes]
    assert [process.stdout.readline() for process in processes] == ["opened\n"] * 4


def test_new_ledger_is_opened_by_eight_threads_at_once(path):
    """None of the threads that open a new file at the same moment fails."""
    start, errors = threading.Barrier(8), []

    def open_at_start(ledger_path):
        start.wait(20)
        try:
            open_ledger(ledger_path)
        except ConfigurationError as error:
            errors.append(error)

    for number in range(10):
        ledger_path = path.with_name(f"{number}.db")
        threads = [threading.Thread(target=open_at_start, args=(ledger_path,)) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join(60) for thread in threads]
    assert errors == []


def test_clock_returns_seconds_since_1970(ledger):
    """All processes that share the ledger read the clock of its database."""
    with ledger.runs.database.reading() as connection:
        first, second = (ledger.runs.database.clock(connection) for _ in range(2))
    assert first <= second
    assert abs(first - time.time()) < 5


def test_ledger_below_a_file_is_refused_by_path(tmp_path):
    """The folder cannot be created, and the error names the ledger in one line."""
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(ConfigurationError) as caught:
        open_ledger(tmp_path / "state" / "ledger.db")
    assert f"ledger '{tmp_path}/state/ledger.db' cannot be opened: " in caught.value.message
    assert "\n" not in caught.value.message


def test_ledger_path_that_is_a_folder_is_refused_by_path(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        open_ledger(tmp_path)
    assert f"ledger '{tmp_path}' cannot be opened: " in caught.value.message


def test_unreachable_server_error_hides_the_password():
    """The one-line error names the address."""
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    with (
        pytest.raises(ConfigurationError) as caught,
        Ledger("postgresql+psycopg://me:geheim@127.0.0.1:9/ledger", patience=2),
    ):
        pass
    assert "ledger 'postgresql+psycopg://me:***@127.0.0.1:9/ledger' cannot be opened: " in caught.value.message
    assert "geheim" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("url", ["127.0.0.1:1/x?user=me&password=geheim", "me:geheim@127.0.0.1:port/x"])
def test_url_error_hides_the_password(url):
    """The password is hidden in the query of a URL, and in a URL that cannot be parsed."""
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError) as caught, Ledger(f"postgresql+psycopg://{url}", patience=2):
        pass
    assert "geheim" not in caught.value.message


def test_file_that_is_not_a_database_is_renamed(path):
    """The error gives the new name of the file, whose content is unchanged; the next open creates a new ledger."""
    path.parent.mkdir()
    path.write_text("these are the notes of another program, and long enough to be read as a page " * 10)
    with pytest.raises(ConfigurationError, match="it is damaged") as caught:
        open_ledger(path)
    (renamed_path,) = path.parent.iterdir()
    assert renamed_path.read_text().startswith("these are the notes")
    assert f"ledger '{path}' cannot be opened: " in caught.value.message
    assert f"was renamed to {renamed_path}" in caught.value.message
    open_ledger(path)
    assert path.is_file()
    assert renamed_path.read_text().startswith("these are the notes")


def test_truncated_file_is_renamed(path):
    """A ledger of which only the first page is left counts as damaged."""
    open_ledger(path)
    content = path.read_bytes()
    path.write_bytes(content[:4096])
    with pytest.raises(ConfigurationError, match=r"it is damaged \(database disk image is malformed\)"):
        open_ledger(path)
    open_ledger(path)
    assert path.stat().st_size == len(content)


def test_log_and_index_of_a_damaged_file_are_renamed(path):
    """The new ledger must not use the log and the index that a killed process left."""
    path.parent.mkdir()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"ledger.db{suffix}").write_text(f"no page of a database{suffix}" * 50)
    with pytest.raises(ConfigurationError, match="it is damaged"):
        open_ledger(path)
    names = sorted(file.name for file in path.parent.iterdir())
    assert [name for name in names if "damaged" not in name] == []
    assert names[0].startswith("ledger.db.damaged-")
    open_ledger(path)


def damage_table(path, table):
    """Overwrites the pages of a table, as a broken disk would."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        ((size,),) = connection.execute("pragma page_size").fetchall()
        pages = connection.execute("select rootpage from sqlite_master where tbl_name = ?", (table,)).fetchall()
    content = bytearray(path.read_bytes())
    for (page,) in pages:
        content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)


def test_damaged_ledger_stops_the_run(path, terms):
    """The error gives the new name of the damaged file; the next open creates a new ledger."""
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.runs.begin(terms)
    with Ledger(f"sqlite:///{path}") as ledger:
        damage_table(path, "runs")
        with pytest.raises(LedgerError, match=r"it is damaged .* and was renamed to") as caught:
            ledger.runs.heartbeat(terms.run)
    (renamed_path,) = [file for file in path.parent.iterdir() if "damaged" in file.name]
    assert str(renamed_path) in caught.value.message
    assert "kept in it" not in caught.value.message
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.runs.list_abandoned("/out", "slip") == []
        ledger.runs.begin(terms)


def test_damaged_ledger_refuses_further_writes_and_creates_no_file(path, terms):
    """A run that is stopping may still try to release its lease."""
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.runs.begin(terms)
        damage_table(path, "runs")
        for attempt in (ledger.runs.heartbeat, ledger.runs.release, ledger.runs.heartbeat):
            with pytest.raises(LedgerError):
                attempt(terms.run)
    open_ledger(path)
    assert len([file for file in path.parent.iterdir() if file.name.endswith("Z")]) == 1


def test_second_writer_waits_for_the_first(file_ledger, path, terms):
    writer = threading.Thread(target=lambda: file_ledger.runs.begin(terms))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        writer.start()
        writer.join(0.3)
        waited = writer.is_alive()
        connection.execute("commit")
    writer.join(20)
    assert waited
    assert file_ledger.runs.count_volumes(terms.run) == 0


def test_reader_does_not_wait_for_a_writer(path, terms):
    with (
        Ledger(f"sqlite:///{path}", patience=0.1) as ledger,
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        connection.execute("begin immediate")
        assert ledger.runs.list_abandoned("/out", "slip") == []


def test_lock_that_is_not_released_raises_ledger_error(path, terms):
    """The error gives the time waited; a later write succeeds."""
    with (
        Ledger(f"sqlite:///{path}", patience=0.1) as ledger,
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        connection.execute("begin immediate")
        with pytest.raises(LedgerError) as caught:
            ledger.runs.begin(terms)
        connection.execute("rollback")
        ledger.runs.begin(terms)
    assert caught.value.message == (
        f"ledger '{path}': it is locked by another process, which did not release it within 0.1 s;"
        " calls already answered are kept in it"
    )


def test_locked_ledger_can_be_opened_and_read(path, terms):
    """Only a write raises an error."""
    open_ledger(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        with Ledger(f"sqlite:///{path}", patience=0.1) as ledger:
            assert ledger.memory.rate(terms) is None
            with pytest.raises(LedgerError, match=r"it is locked by another process, .* 0\.1 s"):
                ledger.runs.begin(terms)


@pytest.mark.postgres
def test_locked_postgres_table_raises_ledger_error(postgres, terms):
    url = postgres()
    engine = sa.create_engine(url)
    with Ledger(url, patience=0.1) as ledger, engine.begin() as connection:
        connection.execute(sa.text("lock table runs in exclusive mode"))
        with pytest.raises(
            LedgerError, match=r"it is locked by another process, which did not release it within 0\.1 s"
        ):
            ledger.runs.begin(terms)
    engine.dispose()


@pytest.mark.postgres
def test_nul_is_replaced_in_postgres_text(postgres, terms):
    """PostgreSQL's text has no NUL, but binary replies and the escapes of models may contain some."""
    with Ledger(postgres()) as ledger:
        ledger.runs.begin(vary(terms, source="/in/a\0b"))
        with ledger.runs.database._engine.connect() as connection:
            assert connection.execute(sa.text("select source from runs")).scalar_one() == "/in/a\ufffdb"


def test_relative_path_is_resolved_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_ledger(Path("ledger.db"))
    assert (tmp_path / "ledger.db").is_file()
    assert Database("sqlite:///ledger.db").name == "ledger.db"
