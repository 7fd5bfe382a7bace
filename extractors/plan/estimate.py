"""Estimate: what a job would cost and why, before anything is sent."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from extractors.bill import NoteCounts
from extractors.config.prices import find_price
from extractors.config.run_config import PriorStats, prior_stats
from extractors.core.money import FREE, Costs, Usage
from extractors.plan.audit_estimate import AuditEstimate
from extractors.plan.feed import Feed
from extractors.plan.redo import RedoSummary
from extractors.plan.sampling import apportion, interval, reservoir_sample
from extractors.scan import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from decimal import Decimal

    from extractors.bill import Tariff
    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.core import Planned, Problem
    from extractors.core.money import Price
    from extractors.plan.sampling import Sample
    from extractors.record.ledger import Ledger
    from extractors.record.tables.history import RunHistory

BATCH = 1000
NAMED_REJECTS = 5
NO_STATS = PriorStats()


@dataclass(frozen=True, slots=True)
class EstimateInputs:
    """What an estimate or a plan is made from; `history` is None where documents that are done are counted too."""

    config: RunConfig
    price: Price | None
    history: RunHistory | None = None
    prior: PriorStats = NO_STATS

    @property
    def tariff(self) -> Tariff:
        """How pages are billed."""
        return self.config.tariff(self.price, self.prior)


@dataclass(slots=True)
class Estimate:
    """The sums over all planned documents. Token counts bill the images as they are, `planned` what is sent first."""

    bill_rule: str
    calibrated: bool = False
    images: int = 0
    documents: int = 0
    rejected: int = 0
    skipped: int = 0
    skipped_failed: Counter[str] = field(default_factory=Counter)  # of them, those that failed for good, by kind
    actions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=lambda: Counter(formula=0, table=0, planned=0))
    costs: Costs = field(default_factory=Costs)
    seconds: float = 0.0
    eta_seconds: float | None = None
    intervals: dict[str, tuple[Decimal, Decimal] | None] | None = None
    causes: RedoSummary | None = None  # with --redo
    price: Price | None = None
    sent: int = 0  # images of documents that are not rejected
    faithful_tokens: int = 0  # of these images, with every pixel that the model sees
    rejects: list[tuple[str, str]] = field(default_factory=list)  # kind and page of the first rejected documents
    listing: Listing = field(default_factory=Listing)
    notes: NoteCounts = field(default_factory=NoteCounts)
    tuning: str = ""  # what of a stored tuning is used
    configuration_warnings: Sequence[str] = ()
    audit: AuditEstimate | None = None

    def add(self, planned: Planned, count: int = 1) -> None:
        """Counts a document, or so many that are planned alike; these are neither rejected nor have `causes`."""
        problem = planned.problem
        self.documents += count
        self.images += count * len(planned.pages)
        self.notes.add(planned, count)
        if problem is not None:
            self._add_reject(planned, problem)
        for page in planned.pages:
            self.actions[page.action] += count
            self.reasons[page.action, page.reason] += count
            self.tokens["formula"] += count * (page.billed.tokens_formula or 0)
            self.tokens["table"] += count * (page.billed.tokens_table or 0)
            if problem is None:  # a page beside a rejected one is not sent
                self.sent += count
                self.tokens["planned"] += count * (page.ladder[0].tokens if page.ladder else 0)
                self.faithful_tokens += count * page.faithful_tokens
        costs = planned.costs if problem is None else Costs()
        self.costs += costs.times(count)
        if self.audit is not None:
            self.audit.add(planned, count)
        if self.causes is not None:
            self.causes.add(planned.name, costs)

    def _add_reject(self, planned: Planned, problem: Problem) -> None:
        self.rejected += 1
        if len(self.rejects) < NAMED_REJECTS:
            page = next(page for page in planned.pages if page.billed.problem is problem)
            self.rejects.append((problem.kind, page.billed.found.uri))

    def extend(self, sampled: Sequence[Costs], total: int) -> None:
        """Scales the sums over a sample to `total` documents; `sampled` are the costs of each, 0 when rejected."""
        times = total / self.documents
        self.documents, self.images = total, round(self.images * times)
        self.rejected, self.sent = round(self.rejected * times), round(self.sent * times)
        self.faithful_tokens = round(self.faithful_tokens * times)
        self.reasons = apportion(self.reasons, self.images)
        self.actions = Counter()
        for (action, _), count in self.reasons.items():
            self.actions[action] += count
        self.tokens = Counter({name: round(count * times) for name, count in self.tokens.items()})
        self.costs = self.costs.scale(times)
        if self.audit is not None:
            self.audit.extend(times)
        if self.causes is not None:
            self.causes.extend(total, times)
        names = ("low", "expected", "high")
        self.intervals = {name: interval([getattr(each, name) for each in sampled], total) for name in names}

    @property
    def saving_usd(self) -> Decimal | None:
        """What the pictures as first sent cost less than with `--policy faithful`."""
        if self.price is None:
            return None
        return self.price.cost(Usage(prompt=self.faithful_tokens - self.tokens["planned"]))

    @property
    def warnings(self) -> list[str]:
        """What a person should know before a run."""
        incomplete = self.listing.incomplete
        listed = [*([incomplete] if incomplete else []), *self.listing.warnings]
        return [*listed, *self.configuration_warnings, *self.notes.warnings()]

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints; dollars as numbers."""
        low, expected, high = (None if cost is None else float(cost) for cost in self.costs.values())
        values: dict[str, object] = {
            "images": self.images,
            "documents": self.documents,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "skipped_failed": self.skipped_failed.total(),
            "actions": dict(self.actions),
            "tokens": dict(self.tokens),
            "bill_rule": self.bill_rule,
            "cost_usd": {"low": low, "expected": expected, "high": high},
            "sampled": self.intervals is not None,
            "seconds": round(self.seconds, 3),
            "eta_seconds": None if self.eta_seconds is None else round(self.eta_seconds, 1),
            "incomplete": self.listing.incomplete is not None,
            "passed_over": dict(self.listing.passed_over),
            "warnings": self.warnings,
        }
        if self.intervals is not None:
            values["interval_usd"] = {
                name: None if ends is None else [float(end) for end in ends] for name, ends in self.intervals.items()
            }
        if self.causes is not None:
            values["causes"] = self.causes.as_json()
        return values


def estimate(
    inputs: EstimateInputs, sample: Sample | None = None, keep: Callable[[Sequence[Planned]], None] | None = None
) -> Estimate:
    """Plans every document of the job that is not done, or a sample, from image headers alone.

    `keep` takes the planned documents, a batch at a time.
    """
    started = time.perf_counter()
    config, history = inputs.config, inputs.history
    with closing(Feed(config, inputs.tariff, history)) as feed:
        result = Estimate(config.rule.name, feed.tariff.calibrated, listing=feed.listing, price=inputs.price)
        result.tuning, result.configuration_warnings = config.tuning.description, config.warnings
        if config.job.audit:
            result.audit = AuditEstimate(config.job.audit, feed.tariff)
        if history and config.job.redo:
            result.causes = RedoSummary(partial(history.reason, redo=config.job.redo))
        if sample and (feed.store.readers > 1 or not sample.for_waits):
            _add_sample(feed, result, sample, config.job.source)
        else:
            _add_all(feed, result, keep)
    if result.audit is not None:
        result.costs += result.audit.sample_costs
    result.skipped, result.skipped_failed = feed.skipped, feed.skipped_failed
    if seconds := inputs.prior.means.seconds:
        result.eta_seconds = (result.documents - result.rejected) * seconds / config.concurrency
    result.seconds = time.perf_counter() - started
    return result


def estimate_job(config: RunConfig, sample: Sample | None = None, *, done: bool) -> Estimate:
    """Estimates a job outside of a run; `done`: without the documents that are done already.

    Raises ConfigurationError when source, output or ledger cannot be read.
    """
    return estimate(read_inputs(config, done=done), sample)


def read_inputs(config: RunConfig, *, done: bool) -> EstimateInputs:
    """Reads the ledger, where there is one, and the output, if `done`. Raises as `estimate_job`."""
    with open_ledger(config.settings) as ledger:
        served = ledger.memory.prices(config.endpoint) if ledger else {}
        free = config.reads_locally(served)
        history = _read_history(config, offline=free) if done else None
        if config.job.redo == "reparse":
            return EstimateInputs(config, FREE, history)
        price = find_price(config, served, free=free)
        if ledger is None:
            return EstimateInputs(config, price, history)
        prior = prior_stats(ledger.memory, config.fingerprint)
        return EstimateInputs(
            config.with_calibration(ledger.memory).with_stored_tuning(ledger.memory), price, history, prior
        )


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """Opens the ledger if there is one."""
    if not settings.has_ledger:
        yield None
        return
    from extractors.record.ledger import Ledger  # noqa: PLC0415 - SQLAlchemy, for those who have a ledger

    with Ledger(settings.ledger) as ledger:
        yield ledger


def _read_history(config: RunConfig, *, offline: bool) -> RunHistory:
    """Reads what is done already under the output."""
    from extractors.record.output import open_output  # noqa: PLC0415 - as below
    from extractors.record.tables.compatibility import check_compatible  # noqa: PLC0415 - polars, which not every estimate needs
    from extractors.record.tables.replies import load_history_with_replies  # noqa: PLC0415 - as above

    output, job = open_output(config.output), config.job
    check_compatible(output, config.schema)
    history, _ = load_history_with_replies(output, config.fingerprint, job.redo_scope, offline=offline)
    return history


def _add_all(feed: Feed, result: Estimate, keep: Callable[[Sequence[Planned]], None] | None) -> None:
    """Plans and adds all documents; those that are planned alike as one, unless each is needed."""
    if keep is None and result.causes is None:
        while groups := feed.take_alike(BATCH):
            for planned, count in groups:
                result.add(planned, count)
        return
    while batch := feed.take(BATCH):
        for planned in batch:
            result.add(planned)
        if keep:
            keep(batch)


def _add_sample(feed: Feed, result: Estimate, sample: Sample, seed: str) -> None:
    """Counts all documents, plans and adds a sample, and scales the sums to all."""
    drawn, total = reservoir_sample(feed.iter_pending(looks=False), sample, seed)
    costs: list[Costs] = []
    for start in range(0, max(len(drawn), 1), BATCH):  # once for none: the feed raises when its source is empty
        for planned in feed.plan(feed.keep_pending(drawn[start : start + BATCH])):
            result.add(planned)
            costs.append(planned.costs if planned.problem is None else Costs())
    pending = round(total * len(costs) / len(drawn)) if drawn else 0  # some turn out to be done only when looked at
    feed.skip(total - pending)
    if total > len(drawn) and costs:
        result.extend(costs, pending)
