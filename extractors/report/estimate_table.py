"""The estimate for the terminal: what would be sent and why, what would be rejected, and what it would cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

from extractors.core.money import dollars
from extractors.report.plan_words import describe_choice
from extractors.report.progress import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from rich.console import RenderableType

    from extractors.core.money import Costs


@dataclass(frozen=True, slots=True)
class EstimateView:
    """The figures of an estimate. `sent` counts the images to send, `faithful_tokens` theirs with every pixel kept."""

    counts: Mapping[str, int]
    reasons: Mapping[tuple[str, str], int]
    tokens: Mapping[str, int]
    costs: Costs
    bill_rule: str
    model: str
    seconds: float
    sent: int = 0
    faithful_tokens: int = 0
    saving_usd: Decimal | None = None
    rejects: Sequence[tuple[str, str]] = ()
    eta_seconds: float | None = None
    calibrated: bool = False
    intervals: Mapping[str, tuple[Decimal, Decimal] | None] | None = None
    causes: Sequence[tuple[str, str]] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    tuning: str = ""
    audit: str = ""

    def lines(self) -> Iterator[RenderableType]:
        """The estimate, top to bottom."""
        yield self._make_table()
        if self.tuning:
            yield self.tuning
        if self.audit:
            yield self.audit
        if self.rejects:
            yield "rejected, which a run does not send:"
            width = max(len(kind) for kind, _ in self.rejects)
            yield from (f"  {kind:{width}}  {uri}" for kind, uri in self.rejects)
            if (more := self.counts["rejected"] - len(self.rejects)) > 0:
                yield f"  and {more:,} more"
        if None in self.costs.values():
            yield f"no known price for {self.model or 'an unset model'}: set --model or TILEWISE_PRICES"

    def _make_table(self) -> Table:
        table = Table(title="estimate", title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(overflow="fold")
        table.add_column(justify="right", overflow="fold")
        for rows in (self._count_rows(), self._token_rows(), self._cost_rows()):
            for row in rows:
                table.add_row(*row)
        return table

    def _count_rows(self) -> Iterator[tuple[str, str]]:
        for name, count in self.counts.items():
            if count or name in {"documents", "images"}:
                yield name, f"{count:,}"
        for (action, reason), count in sorted(self.reasons.items()):
            if action != "reject":
                yield f"  {describe_choice(action, reason)}", f"{count:,}"
        yield from ((f"  {describe_choice(*choice)}", f"{count:,}") for choice, count in self._rejected)
        yield from self.causes
        yield from ((f"passed over ({kind})", f"{count:,}") for kind, count in sorted(self.passed_over.items()))

    @property
    def _rejected(self) -> list[tuple[tuple[str, str], int]]:
        return [each for each in sorted(self.reasons.items()) if each[0][0] == "reject"]

    def _token_rows(self) -> Iterator[tuple[str, str]]:
        yield "image tokens at full size, formula", f"{self.tokens['formula']:,}"
        yield "image tokens at full size, table", f"{self.tokens['table']:,}"
        rule = f"{self.bill_rule} (calibrated)" if self.calibrated else self.bill_rule
        yield f"image tokens as first sent, {rule}", f"{self.tokens['planned']:,}"

    def _cost_rows(self) -> Iterator[tuple[str, str]]:
        for name, cost in zip(("low", "expected", "high"), self.costs.values(), strict=True):
            yield f"cost, {name}", dollars(cost)
        if self.costs.expected is not None and self.sent:
            yield "cost per 1,000 images, expected", dollars(1000 * self.costs.expected / self.sent)
        if self.faithful_tokens > self.tokens["planned"]:
            share = f"{100 * (1 - self.tokens['planned'] / self.faithful_tokens):.1f} %"
            saved = f"{share} of tokens" if self.saving_usd is None else f"{dollars(self.saving_usd)} ({share})"
            yield "saved against --policy faithful", saved
        if self.intervals is not None:
            yield "estimated from a sample, 95 % intervals", ""
            for name, ends in self.intervals.items():
                if ends:
                    yield f"  {name}", f"{dollars(ends[0])} to {dollars(ends[1])}"
        if self.eta_seconds is not None:
            yield "time, from previous runs", format_duration(self.eta_seconds)
        yield "planned in", f"{self.seconds:.2f} s"
