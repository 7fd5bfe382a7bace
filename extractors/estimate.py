"""estimate: what a job would cost and why, before anything is sent."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.bill import Prices
from extractors.brief import Known
from extractors.feed import Feed
from extractors.money import FREE, Costs, Price

if TYPE_CHECKING:
    from extractors.brief import Brief
    from extractors.model import Planned
    from extractors.record.past import Past

BATCH = 1000
UNKNOWN = Known()


@dataclass(slots=True)
class Estimate:
    """The sums over every planned document. Token counts bill the images as they are, `planned` what is sent first."""

    bill_rule: str
    calibrated: bool = False
    images: int = 0
    documents: int = 0
    rejected: int = 0
    skipped: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=lambda: Counter(formula=0, table=0, planned=0))
    costs: Costs = field(default_factory=Costs)
    seconds: float = 0.0
    eta_seconds: float | None = None

    def add(self, planned: Planned) -> None:
        """Counts one document."""
        self.documents += 1
        self.images += len(planned.pages)
        self.rejected += planned.flaw is not None
        for page in planned.pages:
            self.actions[page.action] += 1
            self.reasons[page.action, page.reason] += 1
            self.tokens["formula"] += page.billed.tokens_formula or 0
            self.tokens["table"] += page.billed.tokens_table or 0
            self.tokens["planned"] += page.ladder[0].tokens if page.ladder else 0
        if planned.flaw is None:
            self.costs += planned.costs

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints; dollars as numbers."""
        low, expected, high = (None if cost is None else float(cost) for cost in self.costs.values())
        return {
            "images": self.images,
            "documents": self.documents,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "actions": dict(self.actions),
            "tokens": dict(self.tokens),
            "bill_rule": self.bill_rule,
            "cost_usd": {"low": low, "expected": expected, "high": high},
            "sampled": False,
            "seconds": round(self.seconds, 3),
            "eta_seconds": None if self.eta_seconds is None else round(self.eta_seconds, 1),
        }


def price_of(brief: Brief, served: dict[str, Price], *, free: bool) -> Price | None:
    """The price in force: the user's own file, else nothing for local OCR, else what is served, else what is shipped."""
    own = brief.settings.prices
    if free:
        return Prices(own, {brief.model: FREE}).of(brief.model)
    return Prices(own, served).of(brief.model)


def estimate(brief: Brief, price: Price | None, past: Past | None = None, known: Known = UNKNOWN) -> Estimate:
    """Plans every document of the job that is not done, from headers alone; `known` is of earlier runs."""
    started = time.perf_counter()
    feed = Feed(brief.job, brief.tariff(price, known), past)
    result = Estimate(brief.rule.name, feed.tariff.calibrated)
    while batch := feed.take(BATCH):
        for planned in batch:
            result.add(planned)
    result.skipped = feed.skipped
    if seconds := known.means.seconds:
        result.eta_seconds = (result.documents - result.rejected) * seconds / brief.concurrency
    result.seconds = time.perf_counter() - started
    return result
