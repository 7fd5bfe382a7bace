"""Tables for the terminal: the summary of a run, and the spending."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Column, Table

from extractors.core.money import dollars
from extractors.core.totals import replace_controls
from extractors.report.cascade import list_audit, list_cascade
from extractors.report.witness import list_witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from extractors.core.audit import AuditCounts
    from extractors.core.totals import FailureKind, RunTotals


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# Whether a failure is retried, by whether it is final.
RETRIED = {True: "no, final", False: "yes, by the next run"}


@dataclass(frozen=True, slots=True)
class RunView:
    """The summary of an ended run, for the terminal."""

    run: str
    totals: RunTotals
    found: int
    skipped: int
    message: str
    bill_rule: str
    results: Sequence[str] = ()
    warnings: Sequence[str] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    page_command: str = ""
    input_price: Decimal | None = None
    audit: AuditCounts | None = None

    def lines(self) -> list[RenderableType]:
        """The summary, top to bottom."""
        lines: list[RenderableType] = []
        if self.totals.done or self.totals.calls:
            lines.append(self._make_table())
        if self.totals.kinds:
            lines += [failures_table(self.totals), *list_first_failures(self.totals)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        if self.passed_over:
            kinds = sorted(self.passed_over.items(), key=lambda item: (-item[1], item[0]))
            lines.append("passed over: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds))
        lines.append(self.message)
        lines += [f"rows: {path}" for path in self.results]
        if self.page_command:
            lines.append(f"page: {self.page_command}")
        return lines

    def _make_table(self) -> Table:
        totals, table = self.totals, _make_table(f"run {self.run}")
        counts = Counter(
            found=self.found,
            skipped=self.skipped,
            duplicates=totals.duplicates,
            accepted=totals.accepted,
            rejected=totals.rejected,
            failed=totals.failed,
            remaining=totals.remaining,
        )
        for name, count in counts.items():
            if count or name in {"found", "accepted"}:
                table.add_row(name, f"{count:,}")
        table.add_section()
        table.add_row("calls", f"{totals.calls:,}")
        table.add_row(
            f"prompt tokens, predicted by {self.bill_rule}", f"{totals.prompt_tokens - totals.residual_tokens:,}"
        )
        table.add_row("prompt tokens, billed", f"{totals.prompt_tokens:,}")
        table.add_row("completion tokens, billed", f"{totals.completion_tokens:,}")
        table.add_section()
        table.add_row(
            "cost, predicted (low to high)", f"{dollars(totals.estimated.low)} to {dollars(totals.estimated.high)}"
        )
        table.add_row("cost, paid", dollars(totals.cost_usd))
        if totals.wasted_usd != 0:
            table.add_row("  wasted", dollars(totals.wasted_usd))
        if totals.duplicates:
            table.add_row("copied duplicates, not paid", f"{totals.duplicates:,}, saving {dollars(totals.saved_usd)}")
        if totals.unknown_usd != 0:
            table.add_row("cost, billing status unknown (at most)", dollars(totals.unknown_usd))
        if witness := [*list_witness(totals.witness)]:
            table.add_section()
            for name, value in witness:
                table.add_row(name, value)
        if cascade := [*list_cascade(totals.cascade, self.input_price), *list_audit(self.audit)]:
            table.add_section()
            for name, value in cascade:
                table.add_row(name, value)
        return table


def failures_table(totals: RunTotals) -> Table:
    """The failures by kind, the most frequent first."""
    table = Table(title="failures", title_justify="left", box=None, pad_edge=False, show_header=True)
    for header in ("kind", "documents", "retried"):
        table.add_column(header, justify="right" if header == "documents" else "left", overflow="fold")
    for kind, count in totals.kinds.most_common():
        table.add_row(f"{kind[0]}, {kind[1]}", f"{count:,}", RETRIED[kind[2]])
    return table


def list_first_failures(totals: RunTotals) -> Iterator[str]:
    """The first failures by name, each with its kind and its message, which may quote an answer: for the terminal only."""
    failures = totals.first_failures
    if failures:
        yield f"the first {len(failures)} of {totals.bad:,}:" if totals.bad > len(failures) else "by name:"
    for each in failures:
        yield f"  {replace_controls(each.document)}\n    {each.kind}: {each.message}"


def failure_lines(totals: RunTotals) -> list[str]:
    """The failures by kind, one line each, for places outside of the output: the log and the summary in Prefect."""
    return [
        f"{count:,} documents failed: {failure[0]}, {failure[1]} (retried: {RETRIED[failure[2]]}): "
        f"{public_reason(failure, totals.reasons.get(failure, ''))}"
        for failure, count in totals.kinds.most_common()
    ]


def public_reason(failure: FailureKind, reason: str) -> str:
    """The reason without what may quote an answer: quoted values of a validator, and the body of a server error."""
    if failure[1] == "server_error":
        return "see the table failures"
    return _QUOTED.sub("'…'", reason) if failure[0] == "validate" else reason


def spending_table(by: str, rows: Sequence[Mapping[str, object]], total: Mapping[str, object]) -> Table:
    """The spending, one line per group and the total."""
    names = ("calls", "prompt_tokens", "completion_tokens", "billed_usd", "wasted_usd", "unknown_usd")
    headers = ("calls", "prompt tokens", "completion tokens", "billed", "wasted", "unknown")
    lines = [[str(row[by]), *(_format_cell(row[name]) for name in names)] for row in rows]
    lines.append(["total", *(_format_cell(total[name]) for name in names)])
    widths = [max(map(len, cells)) for cells in list(zip(*lines, strict=True))[1:]]
    numbers = [
        Column(header, justify="right", min_width=width)  # no digit is cut on a narrow terminal
        for header, width in zip(headers, widths, strict=True)
    ]
    table = Table(Column(by, overflow="fold", min_width=10), *numbers, box=None)
    for line in lines:
        table.add_row(*line)
    if total["unpriced"]:
        table.caption = (
            f"{total['unpriced']} calls have no known price and are in no sum: add it to the file of TILEWISE_PRICES"
        )
    return table


def _format_cell(value: object) -> str:
    return dollars(value) if isinstance(value, Decimal) else f"{value:,}"


def _make_table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    return table
