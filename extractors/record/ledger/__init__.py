"""The ledger: every call, stored before it is sent and when its reply arrives, in a database that survives SIGKILL."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError
from extractors.record.ledger.calls import Calls
from extractors.record.ledger.claims import Claims
from extractors.record.ledger.database import LOCK_SECONDS, Database
from extractors.record.ledger.memory import EndpointMemory
from extractors.record.ledger.output_lease import OutputLeases
from extractors.record.ledger.runs import Runs

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from extractors.record.ledger.erasure import Erasure
    from extractors.record.ledger.shards import Shards


class Ledger:
    """One database for all outputs of an account; open it as a context manager, use it from any thread.

    Every method of its parts raises LedgerError when the database cannot be read or written.
    """

    def __init__(self, url: str, patience: float = LOCK_SECONDS) -> None:
        """`url` is SQLAlchemy's: `sqlite:///path` or `postgresql+psycopg://…`; `patience` limits waits for locks, in seconds."""
        self._database = Database(url, patience)
        self.runs = Runs(self._database)
        self.calls = Calls(self._database)
        self.claims = Claims(self._database)
        self.output_leases = OutputLeases(self._database)
        self.memory = EndpointMemory(self._database)

    @cached_property
    def shards(self) -> Shards:
        """The shards of runs that other processes work on."""
        from extractors.record.ledger.shards import Shards  # noqa: PLC0415 - only a run in shards needs it

        return Shards(self._database)

    @cached_property
    def erasure(self) -> Erasure:
        """What `forget` takes out of the ledger."""
        from extractors.record.ledger.erasure import Erasure  # noqa: PLC0415 - only that command needs it

        return Erasure(self._database)

    def __enter__(self) -> Self:
        """Open the database. Raises ConfigurationError if that fails."""
        try:
            self._database.open()
        except ConfigurationError:
            self._database.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database; everything is committed already."""
        self._database.close()
