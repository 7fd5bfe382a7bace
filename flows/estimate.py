"""The estimate as a flow: what a run would send and cost, shown as an artifact."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from extractors.config.job import Job
from extractors.config.run_config import resolve
from extractors.config.settings import read_settings
from extractors.core.errors import TilewiseError
from extractors.core.money import dollars
from extractors.plan.estimate import estimate_job
from extractors.plan.sampling import REMOTE
from extractors.plan.stored_plan import store_plan
from flows.adapters.artifacts import show_estimate
from flows.adapters.naming import flow_run_name

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.plan.estimate import Estimate


@flow(name="estimate", flow_run_name=flow_run_name, persist_result=False)
async def estimate(job: Job) -> State:
    """Says what a run of this job would send and cost, without what is done already; sends nothing."""
    return await run_estimate(job)


async def run_estimate(job: Job) -> State:
    """Estimates the job inside a flow run, and gives the state that it ends in."""
    try:
        config = resolve(job, read_settings(), sends=False)
        found = await asyncio.to_thread(estimate_job, config, REMOTE, done=bool(job.schema_name))
    except TilewiseError as error:
        return Failed(message=error.message, data=error)
    await show_estimate(found, config.model)
    words = f"{found.documents:,} documents, {dollars(found.costs.high)} at most; nothing was sent"
    get_run_logger().info(words)
    if found.listing.incomplete:
        return Failed(message=f"{found.listing.incomplete}; of what was listed: {words}", data=found)
    return Completed(message=words, data=found)


async def run_plan(config: RunConfig) -> State:
    """Stores and shows the plan, and gives the state that the flow run ends in. Raises as `store_plan` does."""
    estimated, url = await asyncio.to_thread(store_plan, config)
    await show_estimate(estimated, config.model, url)
    words = _describe_plan(estimated, url)
    get_run_logger().info(words)
    if estimated.listing.incomplete:
        return Failed(message=f"{estimated.listing.incomplete}; no plan is stored", data=estimated)
    return Completed(message=words, data=estimated)


def _describe_plan(estimated: Estimate, url: str | None) -> str:
    if url is None:
        return f"nothing to do: {estimated.skipped:,} documents are done; no plan is stored"
    words = f"{estimated.documents:,} documents, {dollars(estimated.costs.high)} at most"
    return f"planned, waiting for approval: {words}: run the deployment apply with {url}"
