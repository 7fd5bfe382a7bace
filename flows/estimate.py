"""Estimate: what a run would send and cost, as a flow with an artifact; or the same as a stored plan for `apply`."""

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
from flows.adapters.form import describe, read_parameters
from flows.adapters.links import link_to_apply
from flows.adapters.naming import flow_run_name

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.plan.estimate import Estimate

PLANNED = "Planned"  # the name of the final state of a flow run that stored a plan


@flow(name="estimate", flow_run_name=flow_run_name, retries=0, persist_result=False, validate_parameters=False)
async def estimate(job: Job) -> State:
    """Estimates what a run of this job would send and cost, without documents that have a result; sends nothing."""
    try:
        return await run_estimate(read_parameters(Job, job))
    except TilewiseError as error:
        return Failed(message=describe(error.message), data=error)


async def run_estimate(job: Job) -> State:
    """Estimates the job inside a flow run; returns the final state. Raises as `estimate_job` does."""
    config = resolve(job, read_settings(), sends=False)
    job_estimate = await asyncio.to_thread(estimate_job, config, REMOTE, done=bool(job.schema_name))
    await show_estimate(job_estimate, config.model)
    words = f"{job_estimate.documents:,} documents, at most {dollars(job_estimate.costs.high)}; nothing was sent"
    get_run_logger().info(words)
    if job_estimate.listing.incomplete:
        return Failed(message=f"{job_estimate.listing.incomplete}; of what was listed: {words}", data=job_estimate)
    return Completed(message=words, data=job_estimate)


async def run_plan(config: RunConfig) -> State:
    """Stores and shows the plan; returns the final state of the flow run. Raises as `store_plan` does."""
    estimated, url = await asyncio.to_thread(store_plan, config)
    link = await link_to_apply(url) if url else None
    await show_estimate(estimated, config.model, url, link)
    words = _describe_plan(estimated, url) + (f" or open {link}" if link else "")
    get_run_logger().info(words)
    if estimated.listing.incomplete:
        return Failed(message=f"{estimated.listing.incomplete}; no plan is stored", data=estimated)
    return Completed(name=PLANNED if url else None, message=words, data=estimated)


def _describe_plan(estimated: Estimate, url: str | None) -> str:
    if url is None:
        failed = sum(estimated.skipped_failed.values())
        done = f"{estimated.skipped - failed:,} documents have a result, {failed:,} failed for good"
        return f"no plan stored: no documents to process; {done}"
    counts = f"{estimated.documents:,} documents, at most {dollars(estimated.costs.high)}"
    return f"plan stored, waiting for approval: {counts}; to run it, start the deployment apply with plan {url}"
