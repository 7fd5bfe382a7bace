"""The line per minute that a flow run logs."""

import asyncio
from collections import Counter
from decimal import Decimal

from extractors.core.call_counts import CallCounts
from extractors.core.totals import RunTotals
from extractors.report.progress import Progress
from flows.adapters.progress_log import log_progress


def test_log_progress_writes_a_line_a_minute(loop):
    """A line has documents done, cost, retries, refused calls, and failures by kind."""
    progress, lines = Progress(), []
    progress.set_total(9)

    async def work():
        logging = asyncio.create_task(log_progress(progress, lines.append))
        for _ in range(3):
            kinds = Counter({("call", "timeout", False): 1, ("validate", "refused", True): 1})
            progress.add(RunTotals(accepted=1, failed=2, kinds=kinds))
            progress.add_calls(CallCounts(calls=9, retries=6, refusals=5, cost_usd=Decimal("0.5")))
            await asyncio.sleep(50)
        logging.cancel()

    loop.run_until_complete(work())
    assert lines == [
        "6 of 9 documents done, $1.00 spent, 12 retries, 10 calls refused, failures: 2 timeout, 2 refused",
        "9 of 9 documents done, $1.50 spent, 18 retries, 15 calls refused, failures: 3 timeout, 3 refused",
    ]


def test_log_progress_reports_an_unknown_cost(loop):
    """It omits the total number of documents until that is known."""
    progress, lines = Progress(), []
    progress.add(RunTotals(accepted=1, cost_usd=None))

    async def work():
        logging = asyncio.create_task(log_progress(progress, lines.append))
        await asyncio.sleep(61)
        logging.cancel()

    loop.run_until_complete(work())
    assert lines == ["1 documents done, cost unknown, 0 retries, 0 calls refused, failures: 0"]
