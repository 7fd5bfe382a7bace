"""Apply: runs exactly what a stored plan says, as a flow; what has changed since is left out and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State

from extractors import pipeline
from extractors.agreed import Order
from flows.extract import performed
from flows.words import title

if TYPE_CHECKING:
    from extractors.closing import Closing
    from extractors.pipeline import How
    from extractors.settings import Settings


@flow(name="apply", flow_run_name=title, persist_result=False)
async def apply(order: Order) -> State:
    """Runs a plan that somebody has approved; the state says what became of it."""

    async def begun(settings: Settings, how: How) -> Closing:
        return await pipeline.apply(order.model_copy(update={"yes": True}), settings, how)  # it was named: approved

    return await performed(begun)
