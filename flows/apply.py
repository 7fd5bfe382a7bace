"""Apply: runs a stored plan exactly, as a flow; documents that changed since then are left out and counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State

from extractors.plan.apply import ApplyRequest
from extractors.run import pipeline
from flows.adapters.form import read_parameters
from flows.adapters.naming import flow_run_name
from flows.extract import run_in_flow

if TYPE_CHECKING:
    from extractors.config.settings import Settings
    from extractors.run.pipeline import RunHooks
    from extractors.run.result import RunResult


@flow(name="apply", flow_run_name=flow_run_name, retries=0, persist_result=False, validate_parameters=False)
async def apply(order: ApplyRequest) -> State:
    """Runs a stored plan; the final state summarizes the run."""

    async def start(settings: Settings, hooks: RunHooks) -> RunResult:
        request = read_parameters(ApplyRequest, order)
        approved = request.model_copy(update={"yes": True})  # who names a plan has approved it
        return await pipeline.apply(await asyncio.to_thread(approved.resolve, settings), hooks)

    return await run_in_flow(start)
