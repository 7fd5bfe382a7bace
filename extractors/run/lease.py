"""Lease: a run belongs to this process for as long as its heart beats; whoever loses it stops."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from extractors.core.errors import LeaseLost, LedgerError
from extractors.record.ledger.owner import BEAT_SECONDS, LEASE_SECONDS

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from extractors.core import RunInfo
    from extractors.record.ledger import Ledger
    from extractors.run.shutdown import Shutdown


class Lease:
    """One run's lease, an async context manager.

    Left by an error before anything could be sent, the run has never begun; left by one after that, it may be taken over.
    """

    def __init__(self, ledger: Ledger, run_info: RunInfo) -> None:
        """`terms` are those of the run that begins."""
        self._ledger, self._run, self._run_info = ledger, run_info.run, run_info
        self._shutdown: Shutdown | None = None
        self._lost: LedgerError | None = None
        self._begun = False

    async def __aenter__(self) -> Self:
        """Notes the run in the ledger and begins to renew the lease."""
        await asyncio.to_thread(self._ledger.runs.begin, self._run_info)
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lease back."""
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating
        if error is None:
            return
        with suppress(LedgerError):  # then it is seen that this process has ended
            if self._begun:
                self._ledger.runs.release(self._run)
            else:
                self._ledger.runs.forget(self._run)

    def begins(self, shutdown: Shutdown | None = None) -> None:
        """From here on calls may be sent; the brake is pulled when the lease is lost."""
        self._begun, self._shutdown = True, shutdown
        if shutdown is not None and self._lost is not None:
            shutdown.stop(self._lost)

    async def renew(self) -> None:
        """Makes sure that the run is still ours. Raises LeaseLost when another process has taken it over."""
        if not await asyncio.to_thread(self._ledger.runs.heartbeat, self._run):
            raise LeaseLost(
                f"run {self._run} was taken over by another process, as no heartbeat came from this one for"
                f" {LEASE_SECONDS:g} s: it is published there"
            )

    async def _beat(self) -> None:
        last = time.monotonic()
        while self._lost is None:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.renew()
            except LedgerError as error:
                if isinstance(error, LeaseLost) or time.monotonic() - last > LEASE_SECONDS:
                    self._lose(error)
            else:
                last = time.monotonic()

    def _lose(self, error: LedgerError) -> None:
        self._lost = error
        if self._shutdown is not None:
            self._shutdown.stop(error)
