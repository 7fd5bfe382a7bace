"""Witness of documents that a killed run was answered: it looks at them before the next run publishes them.

The recovery is in a thread of its own, and has the event loop look; a Ctrl-C ends both, and the run after that recovers.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.config.job import Job, validate
from extractors.config.run_config import CORES
from extractors.core import Accepted
from extractors.core.errors import ConfigurationError
from extractors.run.witness.witness import DOUBTFUL_BELOW, Witness
from extractors.scan import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extractors.config.run_config import RunConfig
    from extractors.core import Planned, RunInfo
    from extractors.core.errors import RunError
    from extractors.record.ledger import Ledger


@dataclass(slots=True)
class _NeverStopped:
    """The stop of a recovery: it is cancelled as a whole."""

    error: RunError | None = None
    cancelling: bool = False


@dataclass(frozen=True, slots=True)
class RestoredWitness:
    """Looks at restored documents as the run that they belong to would have, within the event loop of the next run."""

    config: RunConfig
    ledger: Ledger
    notify: Callable[[str], None]
    loop: asyncio.AbstractEventLoop

    def examine(self, run_info: RunInfo, restored: Sequence[Accepted]) -> tuple[Sequence[Accepted], list[str]]:
        """The documents with the places of their values, and a warning about those left out. Blocks: not in the loop."""
        if not restored or json.loads(run_info.job).get("witness") is None:
            return restored, []
        self.notify(f"looking for the values of {len(restored):,} documents of run {run_info.run}")
        return asyncio.run_coroutine_threadsafe(self._examine(run_info, restored), self.loop).result()

    async def _examine(self, run_info: RunInfo, restored: Sequence[Accepted]) -> tuple[Sequence[Accepted], list[str]]:
        hosts = self.config.settings.allow_hosts
        try:
            job = validate(Job, json.loads(run_info.job))
            source = await asyncio.to_thread(open_source, run_info.source, job.document_by, hosts, job.selection)
        except ConfigurationError as error:
            return restored, [f"the witness did not look at {len(restored):,} documents: {error.message}"]
        with closing(source), ThreadPoolExecutor(CORES) as threads:
            assert job.witness is not None, "checked before"
            witness = Witness(job.witness, DOUBTFUL_BELOW, source.store, threads, _NeverStopped())
            tuning = self.config.tuning
            if run_info.fingerprint == self.config.fingerprint and job.witness == self.config.job.witness:
                below = tuning.doubtful_below
                witness.threshold, witness.score = DOUBTFUL_BELOW if below is None else below, tuning.witnessed
            try:
                examined = await asyncio.gather(*(self._look(each, witness, run_info) for each in restored))
            finally:
                await witness.reader.close()
        warning = witness.warning()
        return examined, [warning] if warning else []

    async def _look(self, answer: Accepted, witness: Witness, run_info: RunInfo) -> Accepted:
        examined = await witness.examine(replace(answer, planned=self._unlock(answer.planned)))
        await asyncio.to_thread(self.ledger.runs.heartbeat, run_info.run)
        assert isinstance(examined, Accepted), "a witness changes no result"
        return examined

    def _unlock(self, planned: Planned) -> Planned:
        """The document with the passwords of today, which no ledger stores."""
        passwords = self.config.settings.pdf_passwords
        billed = [replace(each.billed, found=replace(each.billed.found, passwords=passwords)) for each in planned.pages]
        pages = zip(planned.pages, billed, strict=True)
        return replace(planned, pages=tuple(replace(page, billed=each) for page, each in pages))
