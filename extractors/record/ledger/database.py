"""The ledger's database: SQLite in a file of its own, or PostgreSQL where several machines share it.

Database errors are raised as a LedgerError with the ledger's name; a damaged file is renamed, never overwritten.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from extractors.core.errors import ConfigurationError, LedgerError, first_line
from extractors.record.ledger.migrations import is_current, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.dialects import postgresql
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.pool import ConnectionPoolEntry

RETRY_SECONDS = 0.02  # seconds
LOCK_SECONDS = 30.0  # how long a write waits for another process
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_LOCK_TIMEOUT = "55P03"  # PostgreSQL: lock_not_available
_UPGRADE_LOCK = 7_106_311  # the key of PostgreSQL's advisory lock while a ledger is upgraded: any fixed number


class Database:
    """Transactions on one ledger, from any thread."""

    def __init__(self, url: str, patience: float = LOCK_SECONDS) -> None:
        """`url` is SQLAlchemy's; `patience` limits how many seconds a write waits for a lock. Opens nothing."""
        self._url, self._patience = _parse_url(url), patience
        self._path = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        self.name = str(self._path) if self._path else _mask_password(self._url)
        try:
            self._engine = self._create_engine()
        except ModuleNotFoundError as error:
            message = f"ledger {self.name!r} needs {error.name}: install it with `pip install 'tilewise[postgres]'`"
            raise ConfigurationError(message) from None
        self._reader = self._engine.execution_options(reads=True)

    def open(self) -> None:
        """Create missing tables and upgrade an older ledger. Raises ConfigurationError if it cannot be opened."""
        try:
            if self._path:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._reader.begin() as connection:
                current = is_current(connection)
            if not current:
                with self._engine.begin() as connection:
                    if not self._path:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
                    upgrade(connection)
        except OSError as error:
            raise ConfigurationError(f"ledger {self.name!r} cannot be opened: {error.strerror}") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"ledger {self.name!r} cannot be opened: {error.message}") from None
        except DBAPIError as error:
            raise ConfigurationError(f"ledger {self.name!r} cannot be opened: {self._describe_error(error)}") from None

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction with the write lock: durable as a whole at the end, or rolled back."""
        with self._translate_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A read-only transaction, concurrent with writers."""
        with self._translate_errors(), self._reader.begin() as connection:
            yield connection

    def purge(self) -> None:
        """Overwrite what was deleted before: SQLite keeps it in free pages. PostgreSQL removes it by itself."""
        if not self._path:
            return
        with self._translate_errors(), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An insert with ON CONFLICT, which both dialects support."""
        if self._path:
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 30 ms that SQLite does not need

        return postgresql.insert(table)

    def clock(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by the clock that all users of this ledger share."""
        if self._path:
            return time.time()
        return float(connection.execute(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).scalar_one())

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            kept = "" if self._is_damaged(error) else "; calls already answered are kept in it"
            raise LedgerError(f"ledger {self.name!r}: {self._describe_error(error)}{kept}") from None

    def _describe_error(self, error: DBAPIError) -> str:
        """The reason of a database error; a damaged file is renamed here."""
        reason = first_line(error.orig or error)
        if _sqlite_code(error) in _LOCKED or getattr(error.orig, "sqlstate", None) == _LOCK_TIMEOUT:
            return f"it is locked by another process, which did not release it within {self._patience:g} s"
        if self._is_damaged(error) and self._path:
            aside = self._move_aside(self._path)
            return (
                f"it is damaged ({reason}) and was renamed to {aside}; the next run creates a new ledger, without the"
                " calls that were not published: keep the renamed file to look them up"
            )
        return reason

    def _is_damaged(self, error: DBAPIError) -> bool:
        return self._path is not None and _sqlite_code(error) in _DAMAGED

    def _move_aside(self, path: Path) -> Path:
        self._engine.dispose()
        mark = f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        for end in ("", "-wal", "-shm"):
            beside = path.with_name(path.name + end)
            with suppress(FileNotFoundError):  # missing, or renamed by another process
                beside.rename(path.with_name(f"{path.name}.{mark}{end}"))
        return path.with_name(f"{path.name}.{mark}")

    def _create_engine(self) -> sa.Engine:
        if not self._path:
            waits = f"-c lock_timeout={round(self._patience * 1000)}"
            seconds = max(2, round(self._patience))  # the driver ignores less than 2
            arguments = {"connect_timeout": seconds, "options": waits}
            engine = sa.create_engine(self._url, connect_args=arguments, pool_pre_ping=True)  # a server may restart
            event.listen(engine, "before_cursor_execute", _clean_parameters, retval=True)
            return engine
        engine = sa.create_engine(self._url, connect_args={"timeout": self._patience})
        event.listen(engine, "connect", self._configure_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def _configure_sqlite(self, connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        """Use WAL, which survives a killed process with one write per commit, and begin transactions ourselves."""
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() != ("wal",):
            try:
                cursor.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                self._wait_for_wal(cursor)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    def _wait_for_wal(self, cursor: DBAPICursor) -> None:
        """Tries again: SQLite does not wait for locks here, and two processes may create the file at once."""
        import tenacity  # noqa: PLC0415 - few processes create the file at once

        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(sqlite3.OperationalError),
            stop=tenacity.stop_after_delay(self._patience),
            wait=tenacity.wait_fixed(RETRY_SECONDS),
            reraise=True,
        )
        patient(cursor.execute, "PRAGMA journal_mode=WAL")


def _clean_parameters(
    _connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_options: object
) -> tuple[str, object]:
    """Writes the sign for what is unreadable in place of NUL, which servers and models write and PostgreSQL refuses in text."""
    return statement, _clean(parameters)


def replace_nul(text: str | None) -> str | None:
    """The text with the sign for what is unreadable in place of NUL."""
    return text.replace("\0", "\ufffd") if text and "\0" in text else text


def _clean(parameters: object) -> object:
    if isinstance(parameters, str):
        return replace_nul(parameters)
    if isinstance(parameters, dict):
        return {name: _clean(value) for name, value in parameters.items()}
    return type(parameters)(map(_clean, parameters)) if isinstance(parameters, list | tuple) else parameters


def _parse_url(url: str) -> sa.URL:
    """Parse the URL. The ConfigurationError for a bad one does not repeat it, since it may contain a password."""
    try:
        return make_url(url)
    except (ValueError, sa.exc.ArgumentError):
        raise ConfigurationError(
            "TILEWISE_LEDGER is not a valid database URL: check that its port is a number"
        ) from None


def _mask_password(url: sa.URL) -> str:
    """The URL without its password and its query, which may contain one too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _sqlite_code(error: DBAPIError) -> int:
    """SQLite's primary result code; 0 for another database."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock first: otherwise two runs could read the same state and both write on it."""
    mode: Literal["BEGIN", "BEGIN IMMEDIATE"] = "BEGIN IMMEDIATE"
    if connection.get_execution_options().get("reads"):
        mode = "BEGIN"
    connection.exec_driver_sql(mode)
