"""database.py: what goes wrong in a ledger's database is said, and nothing in it is lost."""

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

# A process that opens a ledger as soon as it is told to.
OPENS = """
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
    """Where a ledger's file is."""
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def filed(path):
    """An open ledger in a file."""
    with Ledger(f"sqlite:///{path}") as opened:
        yield opened


def opened(path, patience=30.0):
    with Ledger(f"sqlite:///{path}", patience):
        pass


def test_the_file_is_in_write_ahead_mode(filed, path):
    """Readers of the file do not wait for the run that writes it."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma journal_mode").fetchall() == [("wal",)]


def test_what_was_noted_is_there_after_closing(url, make, ledger_writer, ledger, terms):
    """A ledger that is opened again goes on where it was."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, ())
    with Ledger(url) as again:
        assert again.memory.means(terms) == Means(40, 1.5)


@pytest.mark.slow
def test_a_ledger_may_be_opened_by_many_at_once(url, spawn):
    """The first to come makes it, whoever that is, and all the others find it made."""
    processes = [spawn(OPENS, url) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    [print(file=process.stdin, flush=True) for process in processes]
    assert [process.stdout.readline() for process in processes] == ["opened\n"] * 4


def test_a_ledger_is_made_once(path):
    """Of many that open a new file in the same moment none is refused."""
    start, failed = threading.Barrier(8), []

    def open_it(where):
        start.wait(20)
        try:
            opened(where)
        except ConfigurationError as error:
            failed.append(error)

    for number in range(10):
        where = path.with_name(f"{number}.db")
        threads = [threading.Thread(target=open_it, args=(where,)) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join(60) for thread in threads]
    assert failed == []


def test_the_clock_is_that_of_all_who_share_the_ledger(ledger):
    """Seconds since 1970, with fractions."""
    with ledger.runs.database.reading() as connection:
        first, second = (ledger.runs.database.clock(connection) for _ in range(2))
    assert first <= second
    assert abs(first - time.time()) < 5


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


def test_a_server_that_is_not_there_is_refused_without_the_password():
    """The error names the address, and keeps to itself what only its owner should know."""
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
def test_no_password_is_said_wherever_it_stands(url):
    """In the query of a URL, or in one that cannot be read."""
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError) as refused, Ledger(f"postgresql+psycopg://{url}", patience=2):
        pass
    assert "geheim" not in refused.value.message


def test_a_file_that_is_no_database_is_set_aside(path):
    """It is kept as it is under another name, which the error says; the next who opens it begins a new one."""
    path.parent.mkdir()
    path.write_text("these are the notes of somebody else, and long enough to be read as a page " * 10)
    with pytest.raises(ConfigurationError, match="it is damaged") as caught:
        opened(path)
    (kept,) = path.parent.iterdir()
    assert kept.read_text().startswith("these are the notes")
    assert f"ledger '{path}' cannot be opened: " in caught.value.message
    assert f"was renamed to {kept}" in caught.value.message
    opened(path)
    assert path.is_file()
    assert kept.read_text().startswith("these are the notes")


def test_a_file_that_was_cut_short_is_set_aside(path):
    """What was once a ledger is damaged when all but its first page is gone."""
    opened(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096])
    with pytest.raises(ConfigurationError, match=r"it is damaged \(database disk image is malformed\)"):
        opened(path)
    opened(path)
    assert path.stat().st_size == len(whole)


def test_what_belongs_to_a_damaged_file_goes_with_it(path):
    """The log and the index that a killed process left: the new file is not to be mixed up with them."""
    path.parent.mkdir()
    for end in ("", "-wal", "-shm"):
        path.with_name(f"ledger.db{end}").write_text(f"no page of a database{end}" * 50)
    with pytest.raises(ConfigurationError, match="it is damaged"):
        opened(path)
    left = sorted(each.name for each in path.parent.iterdir())
    assert [name for name in left if "damaged" not in name] == []
    assert left[0].startswith("ledger.db.damaged-")
    opened(path)


def overwritten(path, table):
    """Makes the pages of a table unreadable, as a broken disk would."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        ((size,),) = connection.execute("pragma page_size").fetchall()
        pages = connection.execute("select rootpage from sqlite_master where tbl_name = ?", (table,)).fetchall()
    content = bytearray(path.read_bytes())
    for (page,) in pages:
        content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)


def test_damage_in_the_middle_stops_the_run(path, terms):
    """Nothing is sent that the ledger would not know of: the error says where the damaged one is kept."""
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.runs.begin(terms)
    with Ledger(f"sqlite:///{path}") as ledger:
        overwritten(path, "runs")
        with pytest.raises(LedgerError, match=r"it is damaged .* and was renamed to") as caught:
            ledger.runs.heartbeat(terms.run)
    (kept,) = [each for each in path.parent.iterdir() if "damaged" in each.name]
    assert str(kept) in caught.value.message
    assert "kept in it" not in caught.value.message
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.runs.list_abandoned("/out", "slip") == []
        ledger.runs.begin(terms)


def test_who_goes_on_after_damage_is_refused_and_makes_nothing(path, terms):
    """A run that is stopping may still try to give its lease back: that is an error, and no half-made ledger."""
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.runs.begin(terms)
        overwritten(path, "runs")
        for attempt in (ledger.runs.heartbeat, ledger.runs.release, ledger.runs.heartbeat):
            with pytest.raises(LedgerError):
                attempt(terms.run)
    opened(path)
    assert len([each for each in path.parent.iterdir() if each.name.endswith("Z")]) == 1


def test_a_second_writer_waits(filed, path, terms):
    """While another process writes, a note waits for its turn rather than being lost."""
    noted = threading.Thread(target=lambda: filed.runs.begin(terms))
    with closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("begin immediate")
        noted.start()
        noted.join(0.3)
        waited = noted.is_alive()
        busy.execute("commit")
    noted.join(20)
    assert waited
    assert filed.runs.count_volumes(terms.run) == 0


def test_a_reader_waits_for_nobody(path, terms):
    """Whoever only looks is not kept waiting by whoever writes."""
    with (
        Ledger(f"sqlite:///{path}", patience=0.1) as ledger,
        closing(sqlite3.connect(path, isolation_level=None)) as busy,
    ):
        busy.execute("begin immediate")
        assert ledger.runs.list_abandoned("/out", "slip") == []


def test_a_ledger_that_stays_locked_is_said(path, terms):
    """The run stops with an error that says by what, and nothing is lost."""
    with (
        Ledger(f"sqlite:///{path}", patience=0.1) as ledger,
        closing(sqlite3.connect(path, isolation_level=None)) as busy,
    ):
        busy.execute("begin immediate")
        with pytest.raises(LedgerError) as caught:
            ledger.runs.begin(terms)
        busy.execute("rollback")
        ledger.runs.begin(terms)
    assert caught.value.message == (
        f"ledger '{path}': it is locked by another process, which did not release it within 0.1 s;"
        " calls already answered are kept in it"
    )


def test_a_ledger_that_is_locked_is_opened_all_the_same(path, terms):
    """Whoever only reads waits for nobody; whoever writes is told."""
    opened(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("begin immediate")
        with Ledger(f"sqlite:///{path}", patience=0.1) as ledger:
            assert ledger.memory.rate(terms) is None
            with pytest.raises(LedgerError, match=r"it is locked by another process, .* 0\.1 s"):
                ledger.runs.begin(terms)


@pytest.mark.postgres
def test_a_locked_table_of_a_server_is_said(postgres, terms):
    """As a locked file is."""
    url = postgres()
    other = sa.create_engine(url)
    with Ledger(url, patience=0.1) as ledger, other.begin() as busy:
        busy.execute(sa.text("lock table runs in exclusive mode"))
        with pytest.raises(
            LedgerError, match=r"it is locked by another process, which did not release it within 0\.1 s"
        ):
            ledger.runs.begin(terms)
    other.dispose()


@pytest.mark.postgres
def test_nul_in_the_words_of_a_server_does_not_end_a_run(postgres, terms):
    """PostgreSQL's text holds none; a reply of bytes that are no text, and the escapes of models, hold some."""
    with Ledger(postgres()) as ledger:
        ledger.runs.begin(vary(terms, source="/in/a\0b"))
        with ledger.runs.database._engine.connect() as connection:
            assert connection.execute(sa.text("select source from runs")).scalar_one() == "/in/a\ufffdb"


def test_a_ledger_in_a_folder_without_a_name_is_where_we_are(tmp_path, monkeypatch):
    """A path may be relative."""
    monkeypatch.chdir(tmp_path)
    opened(Path("ledger.db"))
    assert (tmp_path / "ledger.db").is_file()
    assert Database("sqlite:///ledger.db").name == "ledger.db"
