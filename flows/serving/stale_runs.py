"""Stale flow runs: their process was lost before it could report their end. They are set to Crashed.

Prefect would keep them Running and their deployment's slot occupied, so that no further run would start.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

SLOT_STATES = [
    StateType.PENDING,
    StateType.RUNNING,
    StateType.CANCELLING,
]  # the states that occupy a slot of the deployment
PAGE_SIZE = 100  # flow runs per request: the server returns at most 200
RUN_ID_VARIABLE = b"PREFECT__FLOW_RUN_ID="  # of the environment of a flow run's process


async def crash_stale_runs(deployments: Collection[UUID], ours: Callable[[], Collection[UUID]]) -> int:
    """Sets started runs of these deployments without a process to Crashed, which frees their slots; returns how many.

    `ours` gives the runs that this process is starting or running.
    """
    # A run may outlive the `serve` that started it: by the half minute in which it publishes or, if its runner was killed
    # too, to its end; it then reports to the new server. Its process is searched in /proc, which only Linux has; elsewhere
    # the run is Crashed until it reports. Live runs are listed first: a run that ends in between has reported.
    living = _list_live_runs() | set(ours())
    async with get_client() as client:
        begun = await _list_started_runs(client, deployments)
        left = [
            run for run in begun if run.id not in living | set(ours())
        ]  # listed twice: a run may have started meanwhile
        for run in left:
            # Forced, so that only the orchestration rule that frees the slot applies.
            await client.set_flow_run_state(
                run.id, Crashed(message="its process ended without reporting a state"), force=True
            )
    return len(left)


async def _list_started_runs(client: PrefectClient, deployments: Collection[UUID]) -> list[FlowRun]:
    flow_runs: list[FlowRun] = []
    while page := await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(deployments))),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=SLOT_STATES))),
        limit=PAGE_SIZE,
        offset=len(flow_runs),
    ):
        flow_runs += page
    return flow_runs


def _list_live_runs() -> set[UUID]:
    """The flow runs of the processes that are visible here."""
    live = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError, ValueError):
            value = environ.read_bytes().partition(RUN_ID_VARIABLE)[2]
            live.add(UUID(value.partition(b"\0")[0].decode("ascii")))
    return live
