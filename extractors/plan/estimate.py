"""estimate: what a job would cost and why, before anything is sent."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from extractors.config.prices import find_price
from extractors.config.run_config import PriorStats, prior_stats
from extractors.core.money import FREE, Costs
from extractors.plan.feed import Feed
from extractors.plan.redo import RedoSummary
from extractors.plan.sampling import apportion, interval, reservoir_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from decimal import Decimal

    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.core import Planned
    from extractors.core.money import Price
    from extractors.plan.sampling import Sample
    from extractors.record.ledger import Ledger
    from extractors.record.tables.history import RunHistory

    Keep = Callable[[Sequence[Planned]], None]

BATCH = 1000
UNKNOWN = PriorStats()


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
    intervals: dict[str, tuple[Decimal, Decimal] | None] | None = None
    causes: RedoSummary | None = None  # where something is to be done again

    def add(self, planned: Planned) -> None:
        """Counts one document."""
        self.documents += 1
        self.images += len(planned.pages)
        self.rejected += planned.problem is not None
        for page in planned.pages:
            self.actions[page.action] += 1
            self.reasons[page.action, page.reason] += 1
            self.tokens["formula"] += page.billed.tokens_formula or 0
            self.tokens["table"] += page.billed.tokens_table or 0
            if planned.problem is None:  # a page beside a rejected one is not sent
                self.tokens["planned"] += page.ladder[0].tokens if page.ladder else 0
        costs = planned.costs if planned.problem is None else Costs()
        self.costs += costs
        if self.causes is not None:
            self.causes.add(planned.name, costs)

    def extend(self, sampled: Sequence[Costs], total: int) -> None:
        """Makes the sums over a sample those of `total` documents; `sampled` are the costs of each, 0 when rejected."""
        times = total / self.documents
        self.documents, self.images = total, round(self.images * times)
        self.rejected = round(self.rejected * times)
        self.reasons = apportion(self.reasons, self.images)
        self.actions = Counter()
        for (action, _), count in self.reasons.items():
            self.actions[action] += count
        self.tokens = Counter({name: round(count * times) for name, count in self.tokens.items()})
        self.costs = self.costs.scale(times)
        if self.causes is not None:
            self.causes.extend(total, times)
        names = ("low", "expected", "high")
        self.intervals = {name: interval([getattr(each, name) for each in sampled], total) for name in names}

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints; dollars as numbers."""
        low, expected, high = (None if cost is None else float(cost) for cost in self.costs.values())
        said: dict[str, object] = {
            "images": self.images,
            "documents": self.documents,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "actions": dict(self.actions),
            "tokens": dict(self.tokens),
            "bill_rule": self.bill_rule,
            "cost_usd": {"low": low, "expected": expected, "high": high},
            "sampled": self.intervals is not None,
            "seconds": round(self.seconds, 3),
            "eta_seconds": None if self.eta_seconds is None else round(self.eta_seconds, 1),
        }
        if self.intervals is not None:
            said["interval_usd"] = {
                name: None if ends is None else [float(end) for end in ends] for name, ends in self.intervals.items()
            }
        if self.causes is not None:
            said["causes"] = self.causes.as_json()
        return said


def estimate(
    config: RunConfig,
    price: Price | None,
    history: RunHistory | None = None,
    prior: PriorStats = UNKNOWN,
    sample: Sample | None = None,
    keep: Callable[[Sequence[Planned]], None] | None = None,
) -> Estimate:
    """Plans every document of the job that is not done, or a sample, from headers alone; `known` is of earlier runs.

    `keep` is given the documents that are planned, a few at a time.
    """
    started = time.perf_counter()
    with closing(Feed(config, config.tariff(price, prior), history)) as feed:
        result = Estimate(config.rule.name, feed.tariff.calibrated)
        if history and config.job.redo:
            result.causes = RedoSummary(partial(history.reason, redo=config.job.redo))
        if sample and (feed.store.readers > 1 or not sample.for_waits):
            _sampled(feed, result, sample, config.job.source)
        else:
            while batch := feed.take(BATCH):
                for planned in batch:
                    result.add(planned)
                if keep:
                    keep(batch)
    result.skipped = feed.skipped
    if seconds := prior.means.seconds:
        result.eta_seconds = (result.documents - result.rejected) * seconds / config.concurrency
    result.seconds = time.perf_counter() - started
    return result


def _sampled(feed: Feed, result: Estimate, sample: Sample, seed: str) -> None:
    """Counts all documents, plans those drawn, and has them speak for all."""
    taken, total = reservoir_sample(feed.listed(looks=False), sample, seed)
    costs: list[Costs] = []
    for start in range(0, max(len(taken), 1), BATCH):  # once for none: the feed says that its source is empty
        for planned in feed.planned(feed.fresh(taken[start : start + BATCH])):
            result.add(planned)
            costs.append(planned.costs if planned.problem is None else Costs())
    left = round(total * len(costs) / len(taken)) if taken else 0  # of some it shows only now that they are done
    feed.skip(total - left)
    if total > len(taken) and costs:
        result.extend(costs, left)


def estimate_job(config: RunConfig, sample: Sample | None = None, *, done: bool, keep: Keep | None = None) -> Estimate:
    """The estimate; `done`: without what is done already. The ledger, where there is one, knows prices and answers.

    Raises ConfigurationError when source, output or ledger cannot be read.
    """
    with opened_ledger(config.settings) as ledger:
        served = ledger.memory.prices(config.endpoint) if ledger else {}
        free = config.reads_locally(served)
        past = _past(config, offline=free) if done else None
        if config.job.redo == "reparse":
            return estimate(config, FREE, past, sample=sample, keep=keep)
        price = find_price(config, served, free=free)
        if ledger is None:
            return estimate(config, price, past, sample=sample, keep=keep)
        config = config.calibrated(ledger.memory)
        return estimate(config, price, past, prior_stats(ledger.memory, config.run_info(price)), sample, keep)


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """The ledger, where there is one to be read."""
    if not settings.has_ledger:
        yield None
        return
    from extractors.record.ledger import Ledger  # noqa: PLC0415 - where there is none, nobody waits for SQLAlchemy

    with Ledger(settings.ledger) as ledger:
        yield ledger


def _past(config: RunConfig, *, offline: bool) -> RunHistory:
    """What is done already under the output."""
    from extractors.record.output import open_output  # noqa: PLC0415 - as above
    from extractors.record.tables.compatibility import check_compatible  # noqa: PLC0415 - an estimate need not wait for polars
    from extractors.record.tables.replies import load_history_with_replies  # noqa: PLC0415 - as above

    output, job = open_output(config.output), config.job
    check_compatible(output, config.schema)
    past, _ = load_history_with_replies(output, config.run_info(None), offline=offline, redo=job.redo, kind=job.kind)
    return past
