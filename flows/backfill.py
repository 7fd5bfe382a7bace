"""Backfill: the same as the nightly flow over a window of the past, made for a form. No window is all of the past."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from extractors.job import Job
from flows.extract import worked
from flows.words import title


@flow(name="backfill", flow_run_name=title, persist_result=False)
async def backfill(job: Job) -> State:
    """Reads the images of the past that lie in the job's window, and are not done or are to be done again."""
    return await worked(job)
