"""The result of a run: its row of `runs`, its exit code, and the message that says what was kept."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from extractors.config.command import describe_resume
from extractors.core.errors import Incomplete, Stopped
from extractors.core.money import dollars
from extractors.core.totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extractors.core import RunInfo
    from extractors.core.audit import AuditCounts
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
    skipped_failed: Counter[str] = field(default_factory=Counter)  # part of `skipped`: failed for good, by kind

    def __add__(self, other: RunCounts) -> RunCounts:
        """Both together."""
        return RunCounts(
            self.skipped + other.skipped, self.totals + other.totals, self.skipped_failed + other.skipped_failed
        )

    def since(self, earlier: RunCounts) -> RunCounts:
        """Returns what was skipped after `earlier`; without totals."""
        return RunCounts(self.skipped - earlier.skipped, skipped_failed=self.skipped_failed - earlier.skipped_failed)

    @property
    def found(self) -> int:
        """All documents that scan found."""
        return self.skipped + self.totals.done + self.totals.remaining

    def warnings(self) -> list[str]:
        """Returns a warning where a run had nothing to do and documents failed for good."""
        return [self.describe_failed()] if self.skipped_failed and not self.totals.done else []

    def describe_skipped(self, output: str) -> str:
        """Says why documents were skipped: they have a result, or they failed for good."""
        failed = self.skipped_failed.total()
        if not failed:
            return f"all {self.skipped:,} documents have a result in {output} (--redo all reads them again)"
        accepted = f"{self.skipped - failed:,} documents have a result in {output}, " if self.skipped > failed else ""
        return accepted + self.describe_failed()

    def describe_failed(self) -> str:
        """Says how many documents were skipped because they failed for good, why, and what to do."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.skipped_failed.most_common())
        return f"{self.skipped_failed.total():,} failed for good earlier ({kinds}): --redo failed tries them again"

    @property
    def failure_share(self) -> float:
        """The share of the documents tried that were rejected or failed, or are copies of one that failed."""
        return self.totals.bad / self.totals.done if self.totals.done else 0.0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run's row has beside its counts: what was run, and how it ended."""

    run_info: RunInfo
    fail_above: float = 0.0
    error: RunError | None = None
    warnings: tuple[str, ...] = ()
    remain: str = "are being processed by another run"
    passed_over: Mapping[str, int] = field(default_factory=dict)
    audit: AuditCounts | None = None
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def row(self, counts: RunCounts, volume: int) -> dict[str, object]:
        """The row of `runs`."""
        info, totals = self.run_info, counts.totals
        low, expected, high = totals.estimated.values()
        return {
            "run": info.run,
            "volume": volume,
            "flow": info.flow,
            "schema": info.schema,
            "source": info.source,
            "model": info.model,
            "endpoint": info.endpoint,
            "policy": info.policy,
            "bill_rule": info.bill_rule,
            "output": info.output,
            "job": info.job,
            "status": self.error.status if self.error else "completed",
            "started_at": info.started_at,
            "finished_at": self.finished_at,
            "found": counts.found,
            "skipped": counts.skipped,
            "skipped_failed": counts.skipped_failed.total(),
            "duplicates": totals.duplicates,
            "rejected": totals.rejected,
            "accepted": totals.accepted,
            "failed": totals.failed,
            "remaining": totals.remaining,
            "calls": totals.calls,
            "prompt_tokens": totals.prompt_tokens,
            "cached_tokens": totals.cached_tokens,
            "completion_tokens": totals.completion_tokens,
            "reasoning_tokens": totals.reasoning_tokens,
            "estimated_low_usd": low,
            "estimated_expected_usd": expected,
            "estimated_high_usd": high,
            "cost_usd": totals.cost_usd,
            "cost_wasted_usd": totals.wasted_usd,
            "cost_unknown_usd": totals.unknown_usd,
            "residual_tokens": totals.residual_tokens,
            "warnings": [*self.warnings, *counts.warnings()],
            "error": self.error.message if self.error else None,
            "prefect_flow_run_id": info.flow_run,
            "approved_by": info.approved_by,
            "version": version("tilewise"),
            "passed_over": json.dumps(self.passed_over) if self.passed_over else None,
            "stopped_at_rung": _dump_rungs(totals.cascade.stopped_at_rung),
            "audited": self.audit.audited if self.audit else None,
            "audit_agreed": self.audit.agreed if self.audit else None,
            "review_below": info.review_below,
        }


def _dump_rungs(stopped: Mapping[int, int]) -> str | None:
    """The accepted documents by rung as JSON, the cheapest rung first; None where none was accepted."""
    return json.dumps({str(rung): count for rung, count in sorted(stopped.items())}) if stopped else None


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
        """0 done, 1 done with more failures than allowed, 2 stopped by an error, 3 stopped by a limit or a person."""
        if self.record.error:
            return self.record.error.exit_code
        return int(self.counts.failure_share > self.record.fail_above)

    @property
    def message(self) -> str:
        """One line: what happened, what was kept, and what to do."""
        totals, output = self.counts.totals, self.record.run_info.output
        if self.record.error:
            copied = f" and {totals.copied} copies" if totals.copied else ""
            kept = f"{totals.accepted} accepted documents{copied} are kept in {output}"
            stopped = f"stopped: {self.record.error.message}; {kept}, {totals.remaining} remain for the next run"
            resume = describe_resume(self.record.run_info)
            return f"{stopped}; go on with: {resume}" if resume else stopped
        others = f"{totals.remaining} documents {self.record.remain}"
        if not totals.done and totals.remaining:
            return f"nothing to do: {others}; {self.counts.describe_skipped(output)}; no call was made"
        if not self.counts.found:
            return "nothing to do: no image was modified in that time; no call was made"
        if not totals.done:
            return f"nothing to do: {self.counts.describe_skipped(output)}; no call was made"
        copied = f", {totals.copied:,} copied" if totals.copied else ""
        lost = f"; {totals.bad:,} not: see {output}/failures" if totals.bad else ""
        left = f"; {others}" if totals.remaining else ""
        if self.counts.skipped_failed:
            left += f"; {self.counts.describe_failed()}"
        return f"{totals.accepted:,} of {totals.done:,} documents accepted{copied}{lost}{left}{self.against_plan}"

    @property
    def against_plan(self) -> str:
        """The cost compared with that of the stored plan, for the documents that were sent."""
        planned, paid = self.counts.totals.estimated.expected, self.counts.totals.cost_usd
        if self.record.run_info.flow != "apply" or not planned or paid is None:
            return ""
        return f"; paid {dollars(paid)} of {dollars(planned)} planned ({(paid - planned) / planned:+.1%})"
