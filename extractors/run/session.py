"""Outset: what every run does before it knows its documents: ledger, price, lease, and what killed runs have left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.config.run_config import known
from extractors.core.errors import ConfigurationError, NeedsYes
from extractors.core.money import FREE
from extractors.record.ledger import Ledger
from extractors.record.output.base import root_of
from extractors.record.tables.compatibility import check_generation
from extractors.record.tables.replies import history
from extractors.run.lease import Lease
from extractors.run.reach import price_in_force
from extractors.run.takeover import take_over

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from extractors.config.run_config import Brief, Known
    from extractors.core import Terms
    from extractors.core.money import Costs, Price
    from extractors.plan.apply import Approved
    from extractors.record.output.base import Root
    from extractors.record.tables.history import Past
    from extractors.record.tables.replies import Stored
    from extractors.run.hooks import How


@dataclass(frozen=True, slots=True)
class Outset:
    """A run that has its lease. `free`: local OCR answers it."""

    brief: Brief
    terms: Terms
    ledger: Ledger
    lease: Lease
    root: Root
    known: Known
    past: Past
    stored: Stored | None
    free: bool


async def outset(asked: Brief, how: How, approved: Approved | None, stack: AsyncExitStack) -> Outset:
    """Begins a run in the ledger, and takes over what was abandoned; what has to be closed is on the stack.

    Raises ConfigurationError when it cannot begin.
    """
    job, root = asked.job, root_of(asked.output)
    check_generation(root, asked.schema)
    ledger = stack.enter_context(Ledger(asked.settings.ledger))
    calibrated = asked.calibrated(ledger.memory)
    asked = replace(calibrated, rule=asked.rule) if approved else calibrated
    price, free = await _price(asked, ledger)
    terms = asked.terms(price, how.flow_run_id)
    if approved:
        terms = replace(terms, flow="apply", approved_by=approved.by)
    facts = known(ledger.memory, terms)
    lease = await stack.enter_async_context(Lease(ledger, terms))
    await asyncio.to_thread(take_over, ledger, terms, asked.schema, asked.settings.keep_replies, how.say)
    past, stored = await asyncio.to_thread(history, root, terms, offline=free, redo=job.redo, kind=job.kind)
    return Outset(asked, terms, ledger, lease, root, facts, past, stored, free)


async def _price(asked: Brief, ledger: Ledger) -> tuple[Price | None, bool]:
    """The price, and whether local OCR answers. Under `reparse` nobody is asked, not even for a list of models."""
    if asked.job.redo == "reparse":
        return FREE, asked.reads_locally(ledger.memory.prices(asked.endpoint))
    return await price_in_force(asked, ledger)


def check_videos(asked: Brief, videos: bool) -> None:  # noqa: FBT001 - whether there are any is all that is asked
    """Raises ConfigurationError where a budget is to hold what nobody can reserve for."""
    name = "--budget" if asked.job.budget is not None else "TILEWISE_DAILY_BUDGET"
    limited = asked.job.budget is not None or asked.settings.daily_budget is not None
    if limited and videos and asked.job.video_tokens is None:
        raise ConfigurationError(f"{name} needs --video-tokens: nobody knows what a video is billed before it is")


def ask(asked: Brief, costs: Costs, *, videos: bool) -> None:
    """Raises NeedsYes when more may be spent than may be without being asked."""
    high, limit = costs.high, asked.settings.ask_above
    if high is None and asked.job.video_tokens is None and videos:
        raise NeedsYes("nobody knows what a video is billed: name the most with --video-tokens, or go on with --yes")
    if high is None:
        raise NeedsYes(f"nobody knows the price of {asked.model}: name it in TILEWISE_PRICES, or go on with --yes")
    if high > limit:
        raise NeedsYes(f"this may cost up to ${high:.2f}, above TILEWISE_ASK_ABOVE={limit}: go on with --yes")
