"""The lease on an output: one process at a time replaces its published files.

Publishing holds it while it writes a volume, `forget` and `prune` while they replace and delete files. A process that
was killed loses it as a run loses its lease.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.core.errors import LedgerError
from extractors.record.ledger.owner import HEARTBEAT_SECONDS, LEASE_SECONDS, current_process
from extractors.record.ledger.runs import is_live
from extractors.record.ledger.schema import OUTPUT_LEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from extractors.record.ledger.database import Database

POLL_SECONDS = 0.2
WAIT_SECONDS = 600.0  # how long another process may take to write a volume


@dataclass(frozen=True, slots=True)
class OutputLeases:
    """The leases of all outputs. `wait` limits how long `hold` waits for another holder, in seconds."""

    database: Database
    wait: float = WAIT_SECONDS
    sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def hold(self, output: str) -> Iterator[None]:
        """Hold the lease of an output, renewed by a thread. Raises LedgerError when another process keeps it too long."""
        holder, end = secrets.token_hex(8), time.monotonic() + self.wait
        while not self._take(output, holder):
            if time.monotonic() >= end:
                raise LedgerError(
                    f"output {output!r} is being written by another process, which did not end within {self.wait:g} s:"
                    " nothing was changed; run again when it has ended"
                )
            self.sleep(POLL_SECONDS)
        done = threading.Event()
        thread = threading.Thread(target=self._renew_regularly, args=(output, holder, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with suppress(LedgerError):  # then it expires, as that of a killed process
                self._release(output, holder)

    def _take(self, output: str, holder: str) -> bool:
        """Take the lease where it is free, expired or ours; returns whether it is ours now."""
        owner = current_process()
        with self.database.writing() as connection:
            free = {"output": output, "holder": "", "host": "", "pid": 0, "born": "", "lease_until": 0.0}
            # One statement, which also locks an existing row: after two, another process may have deleted it between them.
            lock = self.database.insert(OUTPUT_LEASES).on_conflict_do_update(
                index_elements=[OUTPUT_LEASES.c.output], set_={"output": output}
            )
            row = connection.execute(lock.returning(OUTPUT_LEASES), free).one()
            now = self.database.clock(connection)
            if row.holder != holder and is_live(row, now):
                return False
            ours = {"holder": holder, "host": owner.host, "pid": owner.pid, "born": owner.started}
            update = OUTPUT_LEASES.update().where(OUTPUT_LEASES.c.output == output)
            connection.execute(update.values(ours | {"lease_until": now + LEASE_SECONDS}))
            return True

    def _renew_regularly(self, output: str, holder: str, done: threading.Event) -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            with suppress(LedgerError):  # the next heartbeat may succeed before the lease expires
                self._take(output, holder)

    def _release(self, output: str, holder: str) -> None:
        ours = (OUTPUT_LEASES.c.output == output) & (OUTPUT_LEASES.c.holder == holder)
        with self.database.writing() as connection:
            connection.execute(OUTPUT_LEASES.delete().where(ours))
