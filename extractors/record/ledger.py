"""The ledger: what is paid, noted before each call and as each reply arrives, in a database that survives SIGKILL.

Money is kept as whole nanodollars and times as UTC text, because SQLite has neither decimals nor zones.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event, func
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from extractors.errors import ConfigurationError, LedgerError, first_line
from extractors.money import Means, Price

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from extractors.model import Terms

READS = "tilewise reads"  # marks a connection that is about to read only
LOCK_SECONDS = 30  # how long a write waits for another process

Row = dict[str, object]
METADATA = sa.MetaData()
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("schema", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("output", sa.String, nullable=False),
    sa.Column("started_at", sa.String, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("published_at", sa.String),
)
CALLS = sa.Table(
    "calls",
    METADATA,
    # Several processes may write for one run; each numbers its own calls.
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("writer", sa.Integer, primary_key=True),
    sa.Column("call", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("schema", sa.String, nullable=False),
    sa.Column("endpoint", sa.String, nullable=False),
    sa.Column("model_requested", sa.String, nullable=False),
    sa.Column("bill_rule", sa.String, nullable=False),
    sa.Column("rung", sa.Integer),
    sa.Column("started_at", sa.String, nullable=False),
    sa.Column("estimated_image_tokens", sa.Integer, nullable=False),
    sa.Column("estimated_prompt_tokens", sa.Integer, nullable=False),
    sa.Column("reserved_nano", sa.BigInteger),
    # What the reply adds; an intent without a reply keeps them null.
    sa.Column("seconds", sa.Float),
    sa.Column("http_status", sa.Integer),
    sa.Column("outcome", sa.String),
    sa.Column("billed", sa.String),
    sa.Column("model_returned", sa.String),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("cached_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("reasoning_tokens", sa.Integer),
    sa.Column("cost_nano", sa.BigInteger),
    sa.Column("request_id", sa.String),
    sa.Column("reply", sa.Text),
)
_REPLIED = CALLS.update().where(
    CALLS.c.run == sa.bindparam("_run"),
    CALLS.c.writer == sa.bindparam("_writer"),
    CALLS.c.call == sa.bindparam("_call"),
)
SERVED = sa.Table(
    "served_prices",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("input", sa.String, nullable=False),
    sa.Column("output", sa.String, nullable=False),
    sa.Column("cached_input", sa.String),
    sa.Column("as_of", sa.String, nullable=False),
)
RATES = sa.Table(
    "rates",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("calls_per_second", sa.Float, nullable=False),
    sa.Column("seen_at", sa.String, nullable=False),
)


class Ledger:
    """One database for all outputs of an account; open it as a context manager."""

    def __init__(self, url: str) -> None:
        """`url` is SQLAlchemy's, `sqlite:///path`. Raises ConfigurationError where the file cannot be opened."""
        self._path = make_url(url).database or ""
        try:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"ledger {self._path!r} cannot be opened: {error.strerror}") from error
        self._engine = sa.create_engine(url, connect_args={"timeout": LOCK_SECONDS})
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin_immediate)

    def __enter__(self) -> Self:
        """Opens the database and makes its tables where they are not there yet."""
        try:
            METADATA.create_all(self._engine)
            self._connection = self._engine.connect()
        except DatabaseError as error:
            raise ConfigurationError(
                f"ledger {self._path!r} cannot be opened: {first_line(error.orig or error)}"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the database; everything noted is in it already."""
        self._connection.close()
        self._engine.dispose()

    def begin(self, terms: Terms) -> None:
        """A run starts."""
        with self._write() as connection:
            connection.execute(
                RUNS.insert(),
                {
                    "run": terms.run,
                    "schema": terms.schema,
                    "source": terms.source,
                    "output": terms.output,
                    "started_at": terms.started_at.isoformat(),
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                },
            )

    def end(self, terms: Terms) -> None:
        """A run is published: the bodies of its replies are in the tables now, the amounts stay here."""
        with self._write() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == terms.run), {"published_at": _now()})
            connection.execute(CALLS.update().where(CALLS.c.run == terms.run), {"reply": None})

    def write(self, intents: list[Row], replies: list[Row]) -> None:
        """Notes calls that are about to be sent and calls that have ended, all or none of them."""
        with self._write() as connection:
            if intents:
                connection.execute(CALLS.insert(), intents)
            if replies:
                connection.execute(_REPLIED, replies)

    def means(self, terms: Terms) -> Means:
        """What earlier answers of this schema by this model took, on average."""
        query = sa.select(func.avg(CALLS.c.completion_tokens), func.avg(CALLS.c.seconds)).where(
            CALLS.c.endpoint == terms.endpoint,
            CALLS.c.schema == terms.schema,
            CALLS.c.model_requested == terms.model,
            CALLS.c.outcome == "accepted",
        )
        with self._read() as connection:
            tokens, seconds = connection.execute(query).one()
        return Means(None if tokens is None else round(tokens), seconds)

    def keep_rate(self, terms: Terms, calls_per_second: float) -> None:
        """Remembers the rate that this endpoint sustained for this model."""
        key = {"endpoint": terms.endpoint, "model": terms.model}
        with self._write() as connection:
            connection.execute(RATES.delete().filter_by(**key))
            connection.execute(RATES.insert(), key | {"calls_per_second": calls_per_second, "seen_at": _now()})

    def rate(self, terms: Terms) -> float | None:
        """The calls a second that this endpoint last sustained for this model."""
        query = sa.select(RATES.c.calls_per_second).filter_by(endpoint=terms.endpoint, model=terms.model)
        with self._read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def keep_prices(self, endpoint: str, prices: dict[str, Price]) -> None:
        """Replaces what the server was last seen to list."""
        today = datetime.now(UTC).date().isoformat()
        with self._write() as connection:
            connection.execute(SERVED.delete().where(SERVED.c.endpoint == endpoint))
            if prices:
                connection.execute(
                    SERVED.insert(),
                    [
                        {
                            "endpoint": endpoint,
                            "model": model,
                            "input": str(price.input),
                            "output": str(price.output),
                            "cached_input": None if price.cached is None else str(price.cached),
                            "as_of": today,
                        }
                        for model, price in prices.items()
                    ],
                )

    def prices(self, endpoint: str) -> dict[str, Price]:
        """What the server was last seen to list, with the day on which it was seen."""
        with self._read() as connection:
            rows = connection.execute(sa.select(SERVED).where(SERVED.c.endpoint == endpoint)).all()
        return {
            row.model: Price(
                Decimal(row.input),
                Decimal(row.output),
                None if row.cached_input is None else Decimal(row.cached_input),
                date.fromisoformat(row.as_of),
            )
            for row in rows
        }

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._guarded() as connection, connection.begin():
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        self._connection.info[READS] = True
        with self._guarded() as connection:
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[sa.Connection]:
        try:
            yield self._connection
        except DatabaseError as error:
            message = f"ledger {self._path!r}: {first_line(error.orig or error)}; calls already answered are kept in it"
            raise LedgerError(message) from None
        finally:
            self._connection.info.pop(READS, None)
            if self._connection.in_transaction():
                self._connection.rollback()


def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """WAL survives a killed process with one write a commit; transactions are begun by us, not by the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    """Takes the write lock first: two runs that read, decide and write would otherwise both decide on the same state."""
    connection.exec_driver_sql("BEGIN" if connection.info.get(READS) else "BEGIN IMMEDIATE")


def _now() -> str:
    return datetime.now(UTC).isoformat()
