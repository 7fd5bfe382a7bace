"""The log of a run while it works: a line a minute with what is done, spent, refused and failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from extractors.core.money import dollars

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.report.progress import Progress

LOG_SECONDS = 60.0


async def log_progress(progress: Progress, log: Callable[[str], object]) -> None:
    """Logs the progress once a minute until it is cancelled."""
    while True:
        await asyncio.sleep(LOG_SECONDS)
        log(describe_progress(progress))


def describe_progress(progress: Progress) -> str:
    """Documents done, dollars spent, retries, refusals, and failed documents by kind: `3 of 9 documents done, …`."""
    totals = progress.totals
    of = f" of {progress.expected:,}" if progress.expected else ""
    spent = "cost unknown" if progress.cost_usd is None else f"{dollars(progress.cost_usd)} spent"
    failures = ", ".join(f"{count:,} {kind}" for kind, count in progress.failures.most_common()) or f"{totals.bad:,}"
    calls = f"{progress.calls.retries:,} retries, {progress.calls.refusals:,} calls refused"
    return f"{totals.done:,}{of} documents done, {spent}, {calls}, failures: {failures}"
