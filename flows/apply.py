"""Apply: runs a stored plan exactly, as a flow; documents that changed since then are left out and counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from extractors.config.output_name import name_output
from extractors.config.settings import read_settings
from extractors.core.errors import TilewiseError
from extractors.plan.apply_request import ApplyRequest
from extractors.plan.waiting_plans import list_waiting_plans
from extractors.record.output import open_output
from extractors.run import pipeline
from flows.adapters.artifacts import show_plans
from flows.adapters.form import describe, read_parameters
from flows.adapters.links import link_to_apply
from flows.adapters.naming import flow_run_name
from flows.extract import run_in_flow

if TYPE_CHECKING:
    from extractors.config.settings import Settings
    from extractors.run.pipeline import RunHooks
    from extractors.run.result import RunResult

MOST_NAMED = 5  # plans in the message; the artifact has all


@flow(name="apply", flow_run_name=flow_run_name, retries=0, persist_result=False, validate_parameters=False)
async def apply(order: ApplyRequest) -> State:
    """Runs a stored plan; the final state summarizes the run. Without a plan, lists those that wait for approval."""
    try:
        request = read_parameters(ApplyRequest, order)
        if request.plan is None:
            return await _list_plans()
    except TilewiseError as error:
        return Failed(message=describe(error.message), data=error)

    async def start(settings: Settings, hooks: RunHooks) -> RunResult:
        approved = request.model_copy(update={"yes": True})  # who names a plan has approved it
        return await pipeline.apply(await asyncio.to_thread(approved.resolve, settings), hooks)

    return await run_in_flow(start)


async def _list_plans() -> State:
    """Shows the plans that wait in TILEWISE_OUTPUT; returns the final state."""
    place = read_settings().output
    waiting = await asyncio.to_thread(list_waiting_plans, open_output(name_output(place)))
    if not waiting:
        return Completed(message=f"no plan is named, and none waits in {place}")
    await show_plans([(url, info, await link_to_apply(url)) for url, info in waiting])
    listed = "; ".join(
        f"{url} ({info.documents:,} documents, at most {info.high_cost})" for url, info in waiting[:MOST_NAMED]
    )
    return Completed(message=f"no plan is named: {len(waiting)} wait for approval: {listed}")
