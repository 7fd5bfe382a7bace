"""Backfill: the same as the nightly flow over a window of the past, made for a form; plan, then apply.

What may cost much is planned only: the plan is stored and shown, nothing waits, and the deployment `apply` runs it when
somebody has approved it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from extractors.brief import Brief, brief
from extractors.errors import TilewiseError
from extractors.job import Job
from extractors.planning import foreseen, store_plan
from extractors.report.summary import dollars
from extractors.sample import REMOTE
from flows.artifacts import show_estimate
from flows.extract import worked
from flows.key import flow_settings
from flows.words import title

if TYPE_CHECKING:
    from extractors.estimate import Estimate


@flow(name="backfill", flow_run_name=title, persist_result=False)
async def backfill(job: Job) -> State:
    """Reads the images of the past that lie in the job's window, and are not done or are to be done again."""
    if job.dry_run or job.plan_only is False:
        return await worked(job)
    try:
        asked = brief(job, await flow_settings())
        if not job.plan_only and await asyncio.to_thread(_may_run, asked):
            return await worked(job.model_copy(update={"yes": True}))
        estimated, url = await asyncio.to_thread(store_plan, asked)
    except TilewiseError as error:
        return Failed(message=error.message, data=error)
    await show_estimate(estimated, asked.model, url)
    words = _planned(estimated, url)
    get_run_logger().info(words)
    return Completed(message=words, data=estimated)


def _may_run(asked: Brief) -> bool:
    """Whether nobody needs to be asked: somebody was, a budget holds, or it costs little."""
    if asked.job.yes or asked.job.budget is not None or asked.job.redo == "reparse":
        return True
    high = foreseen(asked, REMOTE, done=True).costs.high
    return high is not None and high <= asked.settings.ask_above


def _planned(estimated: Estimate, url: str | None) -> str:
    if url is None:
        return f"nothing to do: {estimated.skipped:,} documents are done; no plan is stored"
    words = f"{estimated.documents:,} documents, {dollars(estimated.costs.high)} at most"
    return f"planned, waiting for approval: {words}: run the deployment apply with {url}"
