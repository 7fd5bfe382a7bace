"""Apply: runs exactly what a stored plan says, as a flow; what has changed since is left out and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State

from extractors.plan.apply import Order
from extractors.run import pipeline
from flows.adapters.naming import title
from flows.extract import performed

if TYPE_CHECKING:
    from extractors.config.settings import Settings
    from extractors.run.pipeline import How
    from extractors.run.result import Closing


@flow(name="apply", flow_run_name=title, persist_result=False)
async def apply(order: Order) -> State:
    """Runs a plan that somebody has approved; the state says what became of it."""

    async def begun(settings: Settings, how: How) -> Closing:
        return await pipeline.apply(order.model_copy(update={"yes": True}), settings, how)  # it was named: approved

    return await performed(begun)
