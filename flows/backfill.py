"""Backfill: the nightly flow over a time window in the past, started from a form; plan, then apply.

An expensive backfill is planned only: the plan is stored and shown, and the deployment `apply` runs it after approval.
"""

from __future__ import annotations

import asyncio

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from extractors.config.job import Job
from extractors.config.run_config import RunConfig, resolve
from extractors.core.errors import TilewiseError
from extractors.plan.estimate import estimate_job
from extractors.plan.sampling import REMOTE
from extractors.run.approval import approval_reason, is_preapproved
from flows.adapters.naming import flow_run_name
from flows.adapters.secrets import load_flow_settings
from flows.estimate import run_plan
from flows.extract import run_job, with_failure_threshold


@flow(name="backfill", flow_run_name=flow_run_name, retries=0, persist_result=False)
async def backfill(job: Job) -> State:
    """Processes images of the job's time window that have no result, or that the job asks to process again."""
    if job.dry_run or job.plan_only is not None:
        return await run_job(job)
    try:
        config = resolve(with_failure_threshold(job), await load_flow_settings())
        if not await asyncio.to_thread(_may_run, config):
            return await run_plan(config)
    except TilewiseError as error:
        return Failed(message=error.message, data=error)
    return await run_job(job.model_copy(update={"yes": True}))


def _may_run(config: RunConfig) -> bool:
    """Whether the job needs no approval."""
    return is_preapproved(config) or approval_reason(config, estimate_job(config, REMOTE, done=True).costs) is None
