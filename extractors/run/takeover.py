"""Takeover: what a killed run had done and paid for is published in its own name, before the next run looks what is new."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.core.errors import Abandoned, LeaseLost, LedgerError
from extractors.record.output.base import open_output, writing
from extractors.record.tables.volume import Volume, volumes
from extractors.record.tables.writer import Tables
from extractors.run.recount import totals_from_tables
from extractors.run.result import RunCounts, RunRecord
from extractors.run.salvage import restore_answered

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.core import Planned, RunInfo
    from extractors.core.schema import Schema
    from extractors.core.totals import RunTotals
    from extractors.record.ledger import Ledger
    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Keep

SALVAGED = 999_999  # the number of the part that holds what was answered and not staged


def recover_abandoned(ledger: Ledger, today: RunInfo, schema: Schema, keep: Keep, say: Callable[[str], None]) -> None:
    """Publishes every abandoned run of the output and schema of `today`, the run that begins.

    Safe to be killed, and to be done by two at once. What the killed runs had done as `today` would do it is marked as
    done: whatever is to be done again, it is not paid for again.
    """
    output = open_output(today.output)
    for terms in ledger.runs.abandoned(today.output, today.schema):
        if ledger.runs.adopt(terms.run):
            try:
                with writing(output):
                    tally = _AbandonedRun(ledger, output, terms, today, schema, keep).salvage()
            except BaseException:  # also a Ctrl-C: the run is to be free for whoever comes next
                with suppress(LedgerError):  # then it is seen that this process has ended
                    ledger.runs.release(terms.run)
                raise
            kept = f"{tally.accepted} accepted documents were paid for and are published now"
            say(f"run {terms.run} had ended without publishing: {kept}, {tally.remaining} are left to this run")


@dataclass(frozen=True, slots=True)
class _AbandonedRun:
    """A run that was killed, and is ours to bring to its end, wherever it was."""

    ledger: Ledger
    output: Output
    run_info: RunInfo
    today: RunInfo
    schema: Schema
    keep: Keep

    def salvage(self) -> RunTotals:
        """Finishes what was being published, else publishes what was staged and what was answered."""
        run = self.run_info.run
        volume = Volume(self.output, self.run_info, self.ledger.runs.volumes(run) + 1)
        earlier = [Volume(self.output, self.run_info, number) for number in range(1, volume.number)]
        for staged in volumes(self.output, self.run_info):
            if staged.committed:
                staged.clear()
        whole = volume.sealed or volume.committed
        planned = [] if whole else self.ledger.claims.planned(run)
        if not whole:
            self._stage(volume, planned)
        ended = volume.ended()
        left = volume.called() - {document for document, _ in ended}
        totals = totals_from_tables(volume, remaining=sum(each.name not in ended for each in planned))
        # A run that was killed between its last volume and its end has no further one.
        if whole or planned or volume.number == 1 or volume.begun:
            if not whole:
                volume.stage_fields([each.key("results") for each in earlier if each.published("results")])
                error = Abandoned("its process ended before it was done")
                volume.stage(
                    "runs", 0, [RunRecord(self.run_info, error=error).row(RunCounts(0, totals), volume.number)]
                )
            if not self.ledger.runs.heartbeat(run):
                raise LeaseLost(f"run {run} was taken over by another process while it was being published")
            if not volume.committed:
                volume.publish()
            self.ledger.runs.published(run, volume.number, left)
        done = {name for each in (*earlier, volume) for name in each.done()} if self._as_today else ()
        self.ledger.claims.keep(self.run_info, done)
        self.ledger.runs.end(run)
        return totals

    def _stage(self, volume: Volume, planned: list[Planned]) -> None:
        """What was answered and what was called, beside the parts that the run had staged itself."""
        ended = volume.ended()
        volume.sweep(ended)
        missing = {each.document: each for each in planned if each.name not in ended}
        accepted = (
            restore_answered(self.ledger.calls.unpublished(self.run_info.run), missing, self.schema)
            if self._same_schema
            else ()
        )
        Tables(self.output, self.run_info, self.schema.model, self.keep, volume).stage(SALVAGED, list(accepted))
        volume.stage_calls(self.ledger.calls.unpublished(self.run_info.run), self.keep)

    @property
    def _as_today(self) -> bool:
        """Whether the killed run asked as today's run asks."""
        return self._same_schema and (self.run_info.prompt_hash, self.run_info.model) == (
            self.today.prompt_hash,
            self.today.model,
        )

    @property
    def _same_schema(self) -> bool:
        """Whether today's schema is the one that the answers were given to."""
        return self.run_info.schema_hash == self.schema.hash
