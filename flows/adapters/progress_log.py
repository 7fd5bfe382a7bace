"""The log of a run while it works: a line a minute with what is done, spent, refused and failed."""

from __future__ import annotations

import asyncio
from collections import Counter
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
    """Documents done, dollars spent, refused calls, and failures by kind: `3 of 9 documents done, $0.01 spent`."""
    totals = progress.totals
    of = f" of {progress.expected:,}" if progress.expected else ""
    spent = "cost unknown" if totals.cost_usd is None else f"{dollars(totals.cost_usd)} spent"
    kinds = Counter[str]()
    for (_, kind, _), count in totals.kinds.items():
        kinds[kind] += count
    failures = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common()) or f"{totals.bad:,}"
    return f"{totals.done:,}{of} documents done, {spent}, {totals.refusals:,} calls refused, failures: {failures}"
