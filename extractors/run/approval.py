"""Approval: whether a person must approve what a run may cost, and the question that is asked once, before any call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from extractors.core.errors import ApprovalRequired, ConfigurationError
from extractors.core.money import dollars
from extractors.plan.audit_estimate import estimate_plan_audit

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.core.money import Costs
    from extractors.plan.apply import ApprovedPlan
    from extractors.run.hooks import Confirm, RunHooks
    from extractors.run.session import RunSession


def is_preapproved(config: RunConfig) -> bool:
    """Whether the job needs no approval at any cost: it says so, it has a budget, or it makes no call."""
    return config.job.yes or config.job.budget is not None or config.job.redo == "reparse"


def approval_reason(
    config: RunConfig, costs: Costs, *, documents: int | None = None, videos: bool = False
) -> str | None:
    """Why a person must approve these costs of so many documents; None when they need no approval."""
    if is_preapproved(config):
        return None
    high, limit = costs.high, config.settings.ask_above
    if high is None and config.job.video_tokens is None and videos:
        return "the cost of a video is unknown: set the maximum with --video-tokens, or continue with --yes"
    if high is None:
        cost = "" if documents is None else f", and so is the cost of {_describe(config, documents)}"
        return f"the price of {config.model} is unknown{cost}: set it in TILEWISE_PRICES, or continue with --yes"
    if high > limit:
        amounts = f"{dollars(high)} (expected {dollars(costs.expected)})"
        work = f"calls of {config.model}" if documents is None else _describe(config, documents)
        return f"this may cost up to {amounts} for {work}, above TILEWISE_ASK_ABOVE={limit}: continue with --yes"
    return None


def _describe(config: RunConfig, documents: int) -> str:
    noun = "document" if documents == 1 else "documents"
    return f"{documents:,} {noun} with schema {config.schema.name} and model {config.model}"


async def require_approval(
    config: RunConfig, costs: Costs, confirm: Confirm | None, *, documents: int | None = None, videos: bool = False
) -> None:
    """Asks for approval if these costs of so many documents need it.

    Raises ApprovalRequired when no person can be asked, and ConfigurationError when the answer is no.
    """
    reason = approval_reason(config, costs, documents=documents, videos=videos)
    if reason is None:
        return
    if confirm is None:
        raise ApprovalRequired(reason)
    if not await confirm(reason):
        raise ConfigurationError(f"not started: {reason}")


async def require_plan_approval(session: RunSession, plan: ApprovedPlan, hooks: RunHooks) -> None:
    """Asks for approval of a stored plan, with the audit that its job has. Raises as `require_approval`."""
    config, costs = session.config, plan.info.costs
    if is_preapproved(config):
        return
    if size := config.job.audit:
        tariff = session.estimate_inputs.tariff
        audit = await asyncio.to_thread(estimate_plan_audit, plan.stored_plan.iter_documents(), size, tariff)
        hooks.notify(audit.words)
        costs += audit.sample_costs
    await require_approval(config, costs, hooks.confirm, documents=plan.info.documents)
