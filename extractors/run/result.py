"""closing: what became of a run: its row of `runs`, its exit code, and the sentence that says what was kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from extractors.core.errors import Incomplete, Stopped
from extractors.core.totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extractors.core import RunInfo
    from extractors.core.errors import RunError
    from extractors.scan import Listing


def check_listing(listing: Listing, error: RunError | None) -> RunError | None:
    """Return the run's error: an incomplete listing comes before a stop by budget, time or a person."""
    if listing.incomplete and (error is None or isinstance(error, Stopped)):
        return Incomplete(listing.incomplete)
    return error


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The documents of a run, or of one volume of it; counts add up."""

    skipped: int = 0
    totals: RunTotals = field(default_factory=RunTotals)

    def __add__(self, other: RunCounts) -> RunCounts:
        """Both together."""
        return RunCounts(self.skipped + other.skipped, self.totals + other.totals)

    @property
    def found(self) -> int:
        """Every document that scan found."""
        return self.skipped + self.totals.done + self.totals.remaining

    @property
    def failure_share(self) -> float:
        """The share of the documents tried that were rejected or failed, or are copies of one that failed."""
        return self.totals.bad / self.totals.done if self.totals.done else 0.0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run's row says beside its counts: who ran what, and how it ended."""

    run_info: RunInfo
    fail_above: float = 0.0
    error: RunError | None = None
    warnings: tuple[str, ...] = ()
    remain: str = "are left to another run, which is reading them"
    passed_over: Mapping[str, int] = field(default_factory=dict)
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def row(self, counts: RunCounts, volume: int) -> dict[str, object]:
        """The row of `runs`."""
        terms, tally = self.run_info, counts.totals
        low, expected, high = tally.estimated.values()
        return {
            "run": terms.run,
            "volume": volume,
            "flow": terms.flow,
            "schema": terms.schema,
            "source": terms.source,
            "model": terms.model,
            "endpoint": terms.endpoint,
            "policy": terms.policy,
            "bill_rule": terms.bill_rule,
            "output": terms.output,
            "job": terms.job,
            "status": self.error.status if self.error else "completed",
            "started_at": terms.started_at,
            "finished_at": self.finished_at,
            "found": counts.found,
            "skipped": counts.skipped,
            "duplicates": tally.duplicates,
            "rejected": tally.rejected,
            "accepted": tally.accepted,
            "failed": tally.failed,
            "remaining": tally.remaining,
            "calls": tally.calls,
            "prompt_tokens": tally.prompt_tokens,
            "cached_tokens": tally.cached_tokens,
            "completion_tokens": tally.completion_tokens,
            "reasoning_tokens": tally.reasoning_tokens,
            "estimated_low_usd": low,
            "estimated_expected_usd": expected,
            "estimated_high_usd": high,
            "cost_usd": tally.cost_usd,
            "cost_wasted_usd": tally.wasted_usd,
            "cost_unknown_usd": tally.unknown_usd,
            "residual_tokens": tally.residual_tokens,
            "warnings": list(self.warnings),
            "error": self.error.message if self.error else None,
            "prefect_flow_run_id": terms.flow_run,
            "approved_by": terms.approved_by,
            "version": version("tilewise"),
            "passed_over": json.dumps(self.passed_over) if self.passed_over else None,
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: its row of `runs` with all volumes summed, and the published files of its results."""

    record: RunRecord
    counts: RunCounts
    results: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, object]:
        """The row of `runs`, all volumes summed."""
        return self.record.row(self.counts, 1)

    @property
    def exit_code(self) -> int:
        """0 done, 1 done but with more failures than allowed, 2 stopped by what is wrong, 3 stopped as told."""
        if self.record.error:
            return self.record.error.exit_code
        return int(self.counts.failure_share > self.record.fail_above)

    @property
    def message(self) -> str:
        """What happened, what was kept, and what to do, in one line."""
        tally, output = self.counts.totals, self.record.run_info.output
        if self.record.error:
            copied = f" and {tally.copied} copies" if tally.copied else ""
            kept = f"{tally.accepted} accepted documents{copied} are kept in {output}"
            return f"stopped: {self.record.error.message}; {kept}, {tally.remaining} remain for the next run"
        others = f"{tally.remaining} documents {self.record.remain}"
        if not tally.done and tally.remaining:
            return f"nothing to do: {others}, {self.counts.skipped} are done in {output}; no call was made"
        if not self.counts.found:
            return "nothing to do: no image was modified in that time; no call was made"
        if not tally.done:
            done = f"all {self.counts.skipped} documents are done in {output}"
            return f"nothing to do: {done}; no call was made (--redo reads them again)"
        copied = f", {tally.copied:,} copied" if tally.copied else ""
        lost = f"; {tally.bad:,} not: see {output}/failures" if tally.bad else ""
        left = f"; {others}" if tally.remaining else ""
        return f"{tally.accepted:,} of {tally.done:,} documents accepted{copied}{lost}{left}{self.against_plan}"

    @property
    def against_plan(self) -> str:
        """How far the bill of a stored plan was from it, of the documents that were sent."""
        planned, paid = self.counts.totals.estimated.expected, self.counts.totals.cost_usd
        if self.record.run_info.flow != "apply" or not planned or paid is None:
            return ""
        return f"; paid ${paid:.6f} of ${planned:.6f} planned ({(paid - planned) / planned:+.1%})"
