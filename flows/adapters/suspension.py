"""Suspend, Pause and Cancel of a flow run in Prefect stop the run: its calls in flight finish and its rows are published.

Prefect itself would end the process at the next task, before anything is published, and would fail the flow run later
unless it is resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect._internal.control_listener import _set_intent  # why this process ends; there is no public name
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Running

from extractors.core.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

    from extractors.run.shutdown import StopSwitch

POLL_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
END_SECONDS = 15.0  # of the half minute that Prefect gives a cancelled flow run
SERVER_ERRORS = (httpx.HTTPError, PrefectException, OSError, ValueError)
STOPPING = "Stopping"  # the name of the running state in which a suspended flow run finishes its calls
CANCELLED = "the flow run was cancelled in Prefect: its calls in flight have finished, and their rows are published"
REASON = "the flow run was suspended in Prefect; run it again to continue"


@contextlib.asynccontextmanager
async def stop_when_suspended(switch: StopSwitch) -> AsyncIterator[None]:
    """Stops the run by its switch when its flow run, or the parent of its flow run, is suspended or paused."""
    _keep_process()
    parent = flow_run.parent_flow_run_id
    watching = asyncio.create_task(_watch(UUID(parent or flow_run.id), switch, own=parent is None))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def end_if_cancelled() -> None:
    """Sets a flow run that was cancelled to Cancelled, after its rows are published, and ends its process.

    Prefect refuses any other state of such a flow run, and prints the refusal as a traceback. Its runner sets it to Crashed
    where it sees the end of the process before it has set it to Cancelled itself; a run that is Cancelled stays so.
    """
    if deployment.id is None:
        return
    cancelled = False
    with contextlib.suppress(*SERVER_ERRORS):
        async with asyncio.timeout(END_SECONDS), get_client() as client:
            own = UUID(flow_run.id)
            state = (await client.read_flow_run(own)).state
            cancelled = state is not None and state.is_cancelling()
            if cancelled:
                await client.set_flow_run_state(own, Cancelled(message=CANCELLED))
    if cancelled:
        _set_intent("cancel")
        raise TerminationSignal(signal.SIGTERM)


def _keep_process() -> None:
    """Keeps Prefect from ending this process at the next task after a suspension."""
    context = FlowRunContext.get()
    if context is not None:
        context.flow_run_suspension_request.mark_requested = _ignore  # type: ignore[method-assign]  # there is no setting


def _ignore(state: State) -> None:
    """The suspension is handled by `_watch`."""


async def _watch(watched: UUID, switch: StopSwitch, *, own: bool) -> None:
    """Polls the state of the flow run. Its own one is set to Running: then Resume does nothing, and the end is accepted."""
    async with get_client() as client:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            # A server that does not answer is asked again.
            with contextlib.suppress(*SERVER_ERRORS):
                await _check_state(client, watched, switch, own=own)


async def _check_state(client: PrefectClient, watched: UUID, switch: StopSwitch, *, own: bool) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        state = (await client.read_flow_run(watched)).state
        if state is None or not (state.is_paused() or (not own and state.name == STOPPING)):
            return
        switch.stop(Stopped(REASON))
        if own:
            message = "calls in flight finish and rows are published; run it again to continue"
            await client.set_flow_run_state(watched, Running(name=STOPPING, message=message), force=True)
