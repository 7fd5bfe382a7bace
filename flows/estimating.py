"""A plan that is made and not run: stored, shown with its bill, and left to the deployment `apply`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect.logging import get_run_logger
from prefect.states import Completed

from extractors.plan.planning import store_plan
from extractors.report.summary import dollars
from flows.adapters.artifacts import show_estimate

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from extractors.config.run_config import RunConfig
    from extractors.plan.estimate import Estimate


async def stored(config: RunConfig) -> State:
    """Stores and shows the plan, and gives the state that the flow run ends in. Raises as `store_plan` does."""
    estimated, url = await asyncio.to_thread(store_plan, config)
    await show_estimate(estimated, config.model, url)
    words = _words(estimated, url)
    get_run_logger().info(words)
    return Completed(message=words, data=estimated)


def _words(estimated: Estimate, url: str | None) -> str:
    if url is None:
        return f"nothing to do: {estimated.skipped:,} documents are done; no plan is stored"
    words = f"{estimated.documents:,} documents, {dollars(estimated.costs.high)} at most"
    return f"planned, waiting for approval: {words}: run the deployment apply with {url}"
