"""The databases of Prefect servers that tilewise starts: one for each folder that is served, and a copy for one run.

A new database takes ten seconds to migrate. So the first temporary server of a version of Prefect leaves a template, of
which later servers begin with a copy. A database that the user has set for Prefect is used as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from extractors.core.errors import ConfigurationError
from flows.adapters.prefect_api import has_own_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
READY = {"PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false", "PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
NEW = {"PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false"}  # else blocks of another database count as registered
FILE, LOCK = "prefect.db", "serve.lock"


@dataclass(frozen=True, slots=True)
class ServerDatabase:
    """The database of a server that is started: the settings for it, and its file; None if the user has set another."""

    settings: dict[str, str]
    path: Path | None = None


@contextlib.contextmanager
def temporary_database() -> Iterator[ServerDatabase]:
    """A database for one run, removed afterwards, also by the next run if this one is killed."""
    if has_own_database():
        yield ServerDatabase({})
        return
    root = _state_folder() / "runs"
    root.mkdir(parents=True, exist_ok=True)
    _remove_stale(root)
    handle, lock = _create_lock(root)  # held while this process lives
    folder = lock.with_suffix("")
    try:
        folder.mkdir()
        copied = _copy_template(folder / FILE)
        yield ServerDatabase(_settings(folder / FILE) | (READY if copied else NEW), folder / FILE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(handle)


def _create_lock(root: Path) -> tuple[int, Path]:
    """A new file that this process has locked; another run that removes stale ones may find it before it is locked."""
    while True:
        handle, name = tempfile.mkstemp(dir=root, suffix=".lock")
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if Path(name).exists():
                return handle, Path(name)
        os.close(handle)


@contextlib.contextmanager
def folder_database(folder: Path) -> Iterator[ServerDatabase]:
    """The database of this served folder, for one `serve` at a time. Raises ConfigurationError while another uses it."""
    place = folder_state(folder)
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOCK).open("a+") as lock:
        _lock_folder(lock, folder)
        if has_own_database():
            yield ServerDatabase({})
            return
        path = place / FILE
        new = not path.exists() and not _copy_template(path)
        yield ServerDatabase(_settings(path) | (NEW if new else {}), path)


def folder_state(folder: Path) -> Path:
    """Where the state of a served folder is kept: named after the folder and a hash of its path."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    name = re.sub(r"[^\w.-]+", "-", folder.name) or "root"
    return _state_folder() / f"{name}-{digest}"


def save_template(database: ServerDatabase) -> None:
    """Keeps a copy of a database that was just made as the template of this version of Prefect, unless there is one."""
    template = _template()
    if database.path is None or template.exists():
        return
    draft = template.with_name(f"{template.name}.{os.getpid()}")
    with contextlib.suppress(OSError, sqlite3.Error):  # the next run takes longer to start
        template.parent.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.closing(sqlite3.connect(database.path)) as source,
            contextlib.closing(sqlite3.connect(draft)) as copy,
        ):
            source.backup(copy)
            copy.execute("pragma journal_mode=delete")  # the copy is one file
        draft.replace(template)


def _copy_template(path: Path) -> bool:
    """Copies the template to this path, whole or not at all; False if there is none."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        shutil.copyfile(_template(), draft)
        draft.replace(path)
        return True
    return False


def _template() -> Path:
    return platformdirs.user_cache_path("tilewise") / f"prefect-{version('prefect')}.db"


def _state_folder() -> Path:
    return platformdirs.user_state_path("tilewise") / "prefect"


def _settings(path: Path) -> dict[str, str]:
    return {URL: f"sqlite+aiosqlite:///{path}"}


def _lock_folder(lock: IO[str], folder: Path) -> None:
    """Locks the folder for this process, and writes its id. Raises ConfigurationError that names the other one."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise ConfigurationError(
            f"folder {folder} is already served by process {lock.read().strip() or 'unknown'}: stop it first"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _remove_stale(root: Path) -> None:
    """Removes the databases of runs that were killed."""
    for path in root.glob("*.lock"):
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink()
