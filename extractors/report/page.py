"""The page of a run: one HTML file that loads nothing, with what was read, what was billed, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, StrictUndefined

from extractors.report.progress import duration
from extractors.report.summary import AGAIN, dollars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENDS = ("accepted", "duplicates", "rejected", "failed", "remaining", "skipped")  # of a document; they add up to `found`


class Sent(NamedTuple):
    """Pages of one choice; the tokens are image tokens as they are, by both readings, and as they were sent first."""

    action: str
    reason: str
    pages: int
    formula: int
    table: int
    planned: int


class Predicted(NamedTuple):
    """Answered calls of one bill rule: prompt tokens, and the share of calls whose every token was predicted."""

    bill_rule: str
    calls: int
    estimated: int
    billed: int
    residual: int
    exact: float


class Called(NamedTuple):
    """Calls of one outcome; `seconds` is the median of theirs, `cost_usd` None where a price was not known."""

    outcome: str
    billed: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost_usd: Decimal | None


class Kind(NamedTuple):
    """Documents that failed in the same way; `final`: another try cannot cure it."""

    stage: str
    kind: str
    final: bool
    documents: int


class Case(NamedTuple):
    """One document that failed."""

    document: str
    stage: str
    kind: str
    message: str


class Told(NamedTuple):
    """One field of the schema, over all accepted rows."""

    field: str
    rows: int
    nulls: int
    distinct: int
    least: str | None
    most: str | None


class Mark(NamedTuple):
    """An amount on the scale of a run's money: `place` in percent of it."""

    name: str
    amount: str
    place: float


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows. `run` is the run's row of `runs`, volumes summed; `files` are those of each table."""

    run: Mapping[str, object]
    sent: Sequence[Sent]
    predicted: Sequence[Predicted]
    called: Sequence[Called]
    kinds: Sequence[Kind]
    cases: Sequence[Case]
    told: Sequence[Told]
    files: Mapping[str, Sequence[str]]

    def html(self) -> str:
        """The whole file. Whatever comes from images, models and settings is escaped."""
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {"dollars": dollars, "count": _count, "percent": _percent, "lasted": duration}
        text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return environment.from_string(text).render(page=self, run=self.run, ends=ENDS, marks=self.marks, again=AGAIN)

    @property
    def marks(self) -> list[Mark]:
        """What was predicted and what was paid, on one scale; none where it cost nothing or no price is known."""
        names = {
            "low": "estimated_low_usd",
            "expected": "estimated_expected_usd",
            "paid": "cost_usd",
            "high": "estimated_high_usd",
        }
        amounts = {name: amount for name, key in names.items() if isinstance(amount := self.run[key], Decimal)}
        most = max(amounts.values(), default=Decimal(0))
        if len(amounts) < len(names) or not most:
            return []
        return [Mark(name, dollars(amount), float(100 * amount / most)) for name, amount in amounts.items()]


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _percent(share: float) -> str:
    return f"{share:.1%}"
