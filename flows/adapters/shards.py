"""Shards as flow runs of the deployment `shard`: started and monitored by the flow run of their parent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger
from prefect.states import Crashed

from extractors.core.errors import ConfigurationError
from extractors.core.shards import ShardExit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

    from extractors.core.shards import ShardSpec

DEPLOYMENT = "shard/shard"
REFUSED = "Refused"  # the state of a shard that cannot start, also not on a retry
REFUSALS = set(range(400, 500)) - {408, 429}  # HTTP statuses that a retry does not change
START_TIMEOUT = timedelta(minutes=10)  # in which a worker starts the process: a container image may have to be pulled
ATTEMPT_TIMEOUT = timedelta(minutes=2)  # in which a process whose flow runs begins its attempt in the ledger
TIMEOUT_SECONDS = 5.0  # per request: Prefect's own client retries for a minute, which would delay a stop
PAGE_SIZE = 100  # flow runs per request: the server returns at most 200
SERVER_ERRORS = (httpx.HTTPError, PrefectException, OSError)


class PrefectShards:
    """A `ShardBackend`: the deployment `shard` of the configured Prefect server."""

    poll = 2.0
    hint = "start a worker for them: `prefect worker start --pool tilewise`; a run that was started from a form occupies one slot"

    async def ready(self) -> None:
        """Checks the deployment. Raises ConfigurationError if it does not exist or the server does not answer."""
        try:
            async with get_client() as client:
                await client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise _missing_deployment() from None
        except SERVER_ERRORS as error:
            raise ConfigurationError(
                f"--shard-size needs the Prefect server, which does not answer: {_explain(error)}"
            ) from None

    async def start(self, shard: ShardSpec) -> str | None:
        """Starts a flow run on the work pool. Raises ConfigurationError if the deployment is missing or refused."""
        parameters = {"spec": shard.model_dump(mode="json")}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                run = await arun_deployment(DEPLOYMENT, parameters=parameters, timeout=0, as_subflow=True)
        except ObjectNotFound:
            raise _missing_deployment() from None
        except SERVER_ERRORS as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in REFUSALS:
                raise ConfigurationError(f"the Prefect server refuses to start a shard: {_explain(error)}") from None
            get_run_logger().warning("a shard could not be started, retrying: %s", _explain(error))
            return None
        return str(run.id)

    async def over(self, shards: Collection[str]) -> Mapping[str, ShardExit]:
        """The shards whose flow run is final or deleted, or whose worker has not started it for a long time.

        Empty while the server does not answer.
        """
        flow_run_ids = [UUID(each) for each in shards]
        states: dict[str, State | None] = {}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
                for first in range(0, len(flow_run_ids), PAGE_SIZE):
                    ids = flow_run_ids[first : first + PAGE_SIZE]
                    flow_runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))
                    states |= {str(each.id): each.state for each in flow_runs}
        except SERVER_ERRORS:
            return {}
        gone = {each: ShardExit("its flow run was deleted") for each in shards if each not in states}
        return gone | {each: end for each, state in states.items() if state is not None and (end := _exit_of(state))}

    async def give_up(self, shards: Collection[str]) -> None:
        """Sets their flow runs to Crashed: their worker is lost and cannot report it.

        Only as many as a few seconds allow: shards of an ended run start nothing.
        """
        with suppress(*SERVER_ERRORS):
            async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
                await asyncio.gather(*(_crash(client, each) for each in shards))


def _exit_of(state: State) -> ShardExit | None:
    """The exit of a shard in this state, None if it has not ended. The ledger knows the shards that are running."""
    if state.is_final():
        return ShardExit(f"{state.name}: {state.message or 'no message'}", refused=state.name == REFUSED)
    timeout = START_TIMEOUT if state.is_pending() else ATTEMPT_TIMEOUT if state.is_running() else timedelta.max
    if datetime.now(UTC) - state.timestamp > timeout:
        minutes = f"{timeout.total_seconds() / 60:.0f} minutes"
        return ShardExit(f"a worker took it, and {minutes} after the state {state.name} it has not started")
    return None


async def _crash(client: PrefectClient, shard: str) -> None:
    try:
        run = await client.read_flow_run(UUID(shard))
        if run.state is None or not run.state.is_final():
            await client.set_flow_run_state(
                run.id, Crashed(message="its parent run no longer waits for it"), force=True
            )
    except SERVER_ERRORS as error:
        get_run_logger().warning("flow run %s could not be set to Crashed: %s", shard, _explain(error))


def _missing_deployment() -> ConfigurationError:
    return ConfigurationError(
        f"--shard-size needs the deployment {DEPLOYMENT} on the Prefect server: run `prefect --no-prompt deploy --all`"
    )


def _explain(error: Exception) -> str:
    """The answer of the server, or the kind of connection error, on one line."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {' '.join(error.response.text.split())[:200]}"
    return type(error).__name__
