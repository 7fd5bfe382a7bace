"""Approval: whether a person must approve what a run may cost, and the question that is asked once, before any call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from extractors.core.errors import ApprovalRequired, ConfigurationError

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.core.money import Costs

Confirm = Callable[[str], Awaitable[bool]]  # asks a person whether a run may go on for this reason


def is_preapproved(config: RunConfig) -> bool:
    """Whether the job needs no approval at any cost: it says so, it has a budget, or it makes no call."""
    return config.job.yes or config.job.budget is not None or config.job.redo == "reparse"


def approval_reason(config: RunConfig, costs: Costs, *, videos: bool = False) -> str | None:
    """Why a person must approve these costs; None when they need no approval."""
    if is_preapproved(config):
        return None
    high, limit = costs.high, config.settings.ask_above
    if high is None and config.job.video_tokens is None and videos:
        return "the cost of a video is unknown: set the maximum with --video-tokens, or continue with --yes"
    if high is None:
        return f"the price of {config.model} is unknown: set it in TILEWISE_PRICES, or continue with --yes"
    if high > limit:
        return f"this may cost up to ${high:.2f}, above TILEWISE_ASK_ABOVE={limit}: continue with --yes"
    return None


async def require_approval(config: RunConfig, costs: Costs, confirm: Confirm | None, *, videos: bool = False) -> None:
    """Asks for approval if these costs need it.

    Raises ApprovalRequired when no person can be asked, and ConfigurationError when the answer is no.
    """
    reason = approval_reason(config, costs, videos=videos)
    if reason is None:
        return
    if confirm is None:
        raise ApprovalRequired(reason)
    if not await confirm(reason):
        raise ConfigurationError(f"not started: {reason}")
