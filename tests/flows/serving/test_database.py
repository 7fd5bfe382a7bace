"""Prefect's databases: one for each served folder, and a copy of a template for each run."""

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
    """State, cache and home are folders of the test, and no database is configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv(URL, raising=False)


def migrate(database):
    """Creates a table, as a server does that starts on the database."""
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        connection.executescript("pragma journal_mode=wal; create table flow (id)")


def list_tables(path):
    """The names of a database's tables."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("select name from sqlite_master")]


def test_second_run_starts_with_a_copy_of_the_first_database():
    """The copy is migrated and is removed after the run; the template stays."""
    with temporary_database() as first:
        assert first.settings == {URL: f"sqlite+aiosqlite:///{first.path}"} | NEW
        migrate(first)
        save_template(first)
    with temporary_database() as second:
        assert second.settings == {URL: f"sqlite+aiosqlite:///{second.path}"} | READY
        assert list_tables(second.path) == ["flow"]
    assert (first.path.exists(), second.path.parent.exists(), list(_state_folder().rglob("*.lock"))) == (
        False,
        False,
        [],
    )
    assert [path.name for path in _template().parent.iterdir()] == [_template().name]


def test_concurrent_first_runs_leave_one_complete_template():
    """Each run writes its own draft and renames it."""

    def run_once(_):
        with temporary_database() as database:
            if NEW.items() <= database.settings.items():
                migrate(database)
            save_template(database)
            return list_tables(database.path)

    with ThreadPoolExecutor(8) as threads:
        tables = list(threads.map(run_once, range(16)))
    assert tables == [["flow"]] * 16
    assert list_tables(_template()) == ["flow"]


@pytest.mark.parametrize("removed", [False, True], ids=["locked by it", "removed by it"])
def test_create_lock_replaces_a_lock_that_another_run_took(monkeypatch, tmp_path, removed):
    """Between the creation of a file and its lock, another run may lock or remove it as stale."""
    create, lost_locks = tempfile.mkstemp, []

    def create_and_lose(**options):
        handle, name = create(**options)
        if not lost_locks:
            lost_locks.append(name)
            other = os.open(name, os.O_RDWR)
            fcntl.flock(other, fcntl.LOCK_EX)
            if removed:
                Path(name).unlink()
                os.close(other)
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", create_and_lose)
    handle, lock = _create_lock(tmp_path)
    assert lock.exists()
    assert [str(lock)] != lost_locks
    os.close(handle)


def test_next_run_removes_the_database_of_a_killed_run():
    """The lock of a killed run is free, and that of a live run is not."""
    killed = _state_folder() / "runs" / "killed"
    killed.mkdir(parents=True)
    killed.with_suffix(".lock").touch()
    with temporary_database() as live, temporary_database():
        assert live.path.parent.exists()
        assert not killed.exists()


@pytest.mark.parametrize("name", [URL, "PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_HOST"])
def test_configured_database_is_used_unchanged(tmp_path, monkeypatch, name):
    """Neither a run nor a served folder sets another database."""
    monkeypatch.setenv(name, "postgresql+asyncpg://host/prefect")
    with temporary_database() as temporary, folder_database(tmp_path) as served:
        assert temporary.settings == served.settings == {}


def test_each_served_folder_has_its_own_database(tmp_path):
    """Folders of the same name have separate databases, and each keeps its own."""
    with folder_database(tmp_path / "a" / "in box") as one, folder_database(tmp_path / "b" / "in box") as other:
        assert one.path != other.path
        assert one.path.parent.name.startswith("in-box-")
        migrate(one)
    with folder_database(tmp_path / "a" / "in box") as second:
        assert list_tables(second.path) == ["flow"]


def test_second_serve_of_a_folder_is_refused(workspace, monkeypatch):
    """It prints one line that names the folder, exits with code 2 and starts nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", workspace.env["XDG_STATE_HOME"])
    with folder_database(workspace.folder):
        result = workspace.run("serve", "--port", "45871")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert str(workspace.folder) in result.stderr
    with pytest.raises(ConfigurationError), folder_database(workspace.folder), folder_database(workspace.folder):
        pass
    assert (folder_state(workspace.folder) / "serve.lock").exists()
