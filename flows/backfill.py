"""Backfill: the nightly flow over a time window in the past, started from a form.

An expensive backfill is planned only, unless its form says otherwise: the plan is stored and shown, and the deployment
`apply` runs it after approval.
"""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from extractors.config.job import Job
from flows.adapters.naming import flow_run_name
from flows.extract import run_job


@flow(name="backfill", flow_run_name=flow_run_name, retries=0, persist_result=False, validate_parameters=False)
async def backfill(job: Job) -> State:
    """Processes images of the job's time window that have no result, or that the job asks to process again."""
    return await run_job(job)
