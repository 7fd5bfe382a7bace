"""planning: what a job would do and cost, before anything is sent: an estimate, or a plan that is stored to be applied."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from extractors.config.prices import find_price
from extractors.config.run_config import RunConfig, prior_stats
from extractors.core.money import FREE
from extractors.plan.estimate import Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from extractors.config.settings import Settings
    from extractors.core import Planned
    from extractors.plan.sampling import Sample
    from extractors.record.ledger import Ledger
    from extractors.record.tables.history import RunHistory

    Keep = Callable[[Sequence[Planned]], None]


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


def store_plan(config: RunConfig) -> tuple[Estimate, str | None]:
    """Plans every document that is not done, and stores that; the estimate, and where the plan is, None when it is empty.

    Raises ConfigurationError as `foreseen` does, OutputError when the plan cannot be written.
    """
    from extractors.plan.stored_plan import PlanWriter  # noqa: PLC0415 - an estimate need not wait for polars
    from extractors.record.output.base import open_output  # noqa: PLC0415 - as above

    terms = config.run_info(None)
    draft = PlanWriter(open_output(config.output), terms.run)
    estimated = estimate_job(config, done=True, keep=draft.keep)
    with opened_ledger(config.settings) as ledger:
        rule = config.calibrated(ledger.memory).rule if ledger else config.rule
    return estimated, draft.done(terms, rule.text)


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
    from extractors.record.output.base import open_output  # noqa: PLC0415 - as above
    from extractors.record.tables.compatibility import check_compatible  # noqa: PLC0415 - an estimate need not wait for polars
    from extractors.record.tables.replies import load_history  # noqa: PLC0415 - as above

    output, job = open_output(config.output), config.job
    check_compatible(output, config.schema)
    past, _ = load_history(output, config.run_info(None), offline=offline, redo=job.redo, kind=job.kind)
    return past
