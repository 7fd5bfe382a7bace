"""Flow runs that are left over: their process is gone, and could not say how they ended. They are ended as crashed.

Prefect itself would keep them Running, and their deployment's slot with them: no night would ever begin again.
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

SLOT_STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]  # the states that hold a deployment's slot
PAGE_SIZE = 100  # flow runs asked for at once: the server gives no more than 200
RUN_ID_VARIABLE = b"PREFECT__FLOW_RUN_ID="  # by which Prefect tells a process which flow run it is


async def crash_stale_runs(deployments: Collection[UUID], ours: Callable[[], Collection[UUID]]) -> int:
    """Ends the begun runs of these deployments that have no process, which frees their slots; gives how many.

    `ours` are those that this process starts or runs now.
    """
    # A run may outlive the `serve` that started it, by the half minute in which it publishes or, where its runner was
    # killed too, to its end; it reports to the server that is there by then. Its process is looked for in /proc, which
    # Linux alone has; elsewhere the run is shown as crashed until it reports. Those that live are asked for first: who
    # ends in between has reported.
    living = _list_live_runs() | set(ours())
    async with get_client() as client:
        begun = await _list_started_runs(client, deployments)
        left = [run for run in begun if run.id not in living | set(ours())]  # asked twice: one may have begun meanwhile
        for run in left:
            # Forced, as Prefect lets no rule but the one that frees the slot stand in the way then.
            await client.set_flow_run_state(run.id, Crashed(message="its process is gone without a word"), force=True)
    return len(left)


async def _list_started_runs(client: PrefectClient, deployments: Collection[UUID]) -> list[FlowRun]:
    found: list[FlowRun] = []
    while page := await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(deployments))),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=SLOT_STATES))),
        limit=PAGE_SIZE,
        offset=len(found),
    ):
        found += page
    return found


def _list_live_runs() -> set[UUID]:
    """The flow runs of the processes that can be seen from here."""
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError, ValueError):
            said = environ.read_bytes().partition(RUN_ID_VARIABLE)[2]
            found.add(UUID(said.partition(b"\0")[0].decode("ascii")))
    return found
