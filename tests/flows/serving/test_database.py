"""database.py: one database for each served folder, and a copy of a template for each run."""

import contextlib
import fcntl
import os
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from extractors.core.errors import ConfigurationError
from flows.serving.database import (
    NEW,
    READY,
    URL,
    _create_lock,
    _state_folder,
    _template,
    folder_database,
    folder_state,
    save_template,
    temporary_database,
)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """A state and a cache of this test's own, and no database of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv(URL, raising=False)


def migrate(database):
    """Makes the database, as a server does that starts on it."""
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        connection.executescript("pragma journal_mode=wal; create table flow (id)")


def tables(path):
    """The tables of a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("select name from sqlite_master")]


def test_second_run_begins_with_a_copy_of_the_first_ones_database():
    """The copy is migrated, goes with the run, and leaves the template as it was."""
    with temporary_database() as first:
        assert first.settings == {URL: f"sqlite+aiosqlite:///{first.path}"} | NEW
        migrate(first)
        save_template(first)
    with temporary_database() as second:
        assert second.settings == {URL: f"sqlite+aiosqlite:///{second.path}"} | READY
        assert tables(second.path) == ["flow"]
    assert (first.path.exists(), second.path.parent.exists(), list(_state_folder().rglob("*.lock"))) == (
        False,
        False,
        [],
    )
    assert [path.name for path in _template().parent.iterdir()] == [_template().name]


def test_concurrent_first_runs_leave_one_whole_template():
    """Each writes a draft of its own and renames it."""

    def run_once(_):
        with temporary_database() as database:
            if NEW.items() <= database.settings.items():
                migrate(database)
            save_template(database)
            return tables(database.path)

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(run_once, range(16)))
    assert made == [["flow"]] * 16
    assert tables(_template()) == ["flow"]


@pytest.mark.parametrize("removed", [False, True], ids=["locked by it", "removed by it"])
def test_a_new_lock_that_another_run_takes_for_stale_is_replaced(monkeypatch, tmp_path, removed):
    """Both come between the moment at which the file is there and the one at which this run locks it."""
    create, taken = tempfile.mkstemp, []

    def create_and_lose(**options):
        handle, name = create(**options)
        if not taken:
            taken.append(name)
            other = os.open(name, os.O_RDWR)
            fcntl.flock(other, fcntl.LOCK_EX)
            if removed:
                Path(name).unlink()
                os.close(other)
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", create_and_lose)
    handle, lock = _create_lock(tmp_path)
    assert lock.exists()
    assert [str(lock)] != taken
    os.close(handle)


def test_database_of_a_killed_run_is_removed_by_the_next():
    """Its lock is free, while that of a live run is not."""
    killed = _state_folder() / "runs" / "killed"
    killed.mkdir(parents=True)
    killed.with_suffix(".lock").touch()
    with temporary_database() as live, temporary_database():
        assert live.path.parent.exists()
        assert not killed.exists()


@pytest.mark.parametrize("name", [URL, "PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_HOST"])
def test_database_of_the_user_wins(tmp_path, monkeypatch, name):
    """For a run and for a served folder; nothing is set for it."""
    monkeypatch.setenv(name, "postgresql+asyncpg://host/prefect")
    with temporary_database() as temporary, folder_database(tmp_path) as served:
        assert temporary.settings == served.settings == {}


def test_each_served_folder_has_its_own_database(tmp_path):
    """Also two of one name."""
    with folder_database(tmp_path / "a" / "in box") as one, folder_database(tmp_path / "b" / "in box") as other:
        assert one.path != other.path
        assert one.path.parent.name.startswith("in-box-")
        migrate(one)
    with folder_database(tmp_path / "a" / "in box") as again:
        assert tables(again.path) == ["flow"]


def test_second_serve_of_a_folder_is_refused(workspace, monkeypatch):
    """One line that names the folder, exit code 2; nothing is started."""
    monkeypatch.setenv("XDG_STATE_HOME", workspace.env["XDG_STATE_HOME"])
    with folder_database(workspace.folder):
        ended = workspace.run("serve", "--port", "45871")
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
    assert str(workspace.folder) in ended.stderr
    with pytest.raises(ConfigurationError), folder_database(workspace.folder), folder_database(workspace.folder):
        pass
    assert (folder_state(workspace.folder) / "serve.lock").exists()
