"""Outset: what every run does before it knows its documents: ledger, price, lease, and what killed runs have left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.config.run_config import prior_stats
from extractors.core.errors import ApprovalRequired, ConfigurationError
from extractors.core.money import FREE
from extractors.record.ledger import Ledger
from extractors.record.output.base import open_output
from extractors.record.tables.compatibility import check_compatible
from extractors.record.tables.replies import load_history
from extractors.run.lease import Lease
from extractors.run.reach import price_in_force
from extractors.run.takeover import recover_abandoned

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from extractors.config.run_config import PriorStats, RunConfig
    from extractors.core import RunInfo
    from extractors.core.money import Costs, Price
    from extractors.plan.apply import ApprovedPlan
    from extractors.record.output.base import Output
    from extractors.record.tables.history import RunHistory
    from extractors.record.tables.replies import StoredReplies
    from extractors.run.hooks import RunHooks


@dataclass(frozen=True, slots=True)
class RunSession:
    """A run that has its lease. `free`: local OCR answers it."""

    config: RunConfig
    run_info: RunInfo
    ledger: Ledger
    lease: Lease
    output: Output
    prior: PriorStats
    history: RunHistory
    stored_replies: StoredReplies | None
    free: bool


async def open_session(
    config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None, stack: AsyncExitStack
) -> RunSession:
    """Begins a run in the ledger, and takes over what was abandoned; what has to be closed is on the stack.

    Raises ConfigurationError when it cannot begin.
    """
    job, output = config.job, open_output(config.output)
    check_compatible(output, config.schema)
    ledger = stack.enter_context(Ledger(config.settings.ledger))
    calibrated = config.calibrated(ledger.memory)
    config = replace(calibrated, rule=config.rule) if approved_plan else calibrated
    price, free = await _price(config, ledger)
    terms = config.run_info(price, hooks.flow_run_id)
    if approved_plan:
        terms = replace(terms, flow="apply", approved_by=approved_plan.by)
    prior = prior_stats(ledger.memory, terms)
    lease = await stack.enter_async_context(Lease(ledger, terms))
    await asyncio.to_thread(recover_abandoned, ledger, terms, config.schema, config.settings.keep_replies, hooks.notify)
    past, stored = await asyncio.to_thread(load_history, output, terms, offline=free, redo=job.redo, kind=job.kind)
    return RunSession(config, terms, ledger, lease, output, prior, past, stored, free)


async def _price(config: RunConfig, ledger: Ledger) -> tuple[Price | None, bool]:
    """The price, and whether local OCR answers. Under `reparse` nobody is asked, not even for a list of models."""
    if config.job.redo == "reparse":
        return FREE, config.reads_locally(ledger.memory.prices(config.endpoint))
    return await price_in_force(config, ledger)


def check_videos(config: RunConfig, videos: bool) -> None:  # noqa: FBT001 - whether there are any is all that is asked
    """Raises ConfigurationError where a budget is to hold what nobody can reserve for."""
    name = "--budget" if config.job.budget is not None else "TILEWISE_DAILY_BUDGET"
    limited = config.job.budget is not None or config.settings.daily_budget is not None
    if limited and videos and config.job.video_tokens is None:
        raise ConfigurationError(f"{name} needs --video-tokens: nobody knows what a video is billed before it is")


def require_approval(config: RunConfig, costs: Costs, *, videos: bool) -> None:
    """Raises NeedsYes when more may be spent than may be without being asked."""
    high, limit = costs.high, config.settings.ask_above
    if high is None and config.job.video_tokens is None and videos:
        raise ApprovalRequired(
            "nobody knows what a video is billed: name the most with --video-tokens, or go on with --yes"
        )
    if high is None:
        raise ApprovalRequired(
            f"nobody knows the price of {config.model}: name it in TILEWISE_PRICES, or go on with --yes"
        )
    if high > limit:
        raise ApprovalRequired(f"this may cost up to ${high:.2f}, above TILEWISE_ASK_ABOVE={limit}: go on with --yes")
