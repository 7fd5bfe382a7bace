"""Shards as flow runs of the deployment `shard`: started, and looked after, by the flow run of their parent."""

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
REFUSED = "Refused"  # the state of a shard that could not begin, and could not at another try
REFUSALS = set(range(400, 500)) - {408, 429}  # what trying again does not change
START_TIMEOUT = timedelta(minutes=10)  # a container's image may have to be fetched first
TIMEOUT_SECONDS = (
    5.0  # that the server is given for an answer: Prefect's own client tries for a minute, and a stop may come
)
PAGE_SIZE = 100  # flow runs asked for at once: the server gives no more than 200
SERVER_ERRORS = (httpx.HTTPError, PrefectException, OSError)


class PrefectShards:
    """A `Starter`: the deployment `shard` of the Prefect server in use."""

    poll = 2.0
    hint = (
        "a worker takes them: `prefect worker start --pool tilewise`; a run that was started from a form takes a place"
    )

    async def ready(self) -> None:
        """Looks for the deployment. Raises ConfigurationError where it is not there, or nobody answers."""
        try:
            async with get_client() as client:
                await client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise _missing_deployment() from None
        except SERVER_ERRORS as error:
            raise ConfigurationError(
                f"--shard-size needs Prefect's server, which does not answer: {_explain(error)}"
            ) from None

    async def start(self, shard: ShardSpec) -> str | None:
        """Has the work pool run it. Raises ConfigurationError when there is no such deployment, or it is refused."""
        asked = {"spec": shard.model_dump(mode="json")}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                run = await arun_deployment(DEPLOYMENT, parameters=asked, timeout=0, as_subflow=True)
        except ObjectNotFound:
            raise _missing_deployment() from None
        except SERVER_ERRORS as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in REFUSALS:
                raise ConfigurationError(f"Prefect's server refuses to start a shard: {_explain(error)}") from None
            get_run_logger().warning("a shard could not be started yet: %s", _explain(error))
            return None
        return str(run.id)

    async def over(self, shards: Collection[str]) -> Mapping[str, ShardExit]:
        """Those whose flow run is in a final state, deleted, or with a worker that has not begun it for long.

        None while the server does not answer.
        """
        asked = [UUID(each) for each in shards]
        found: dict[str, State | None] = {}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
                for first in range(0, len(asked), PAGE_SIZE):
                    ids = asked[first : first + PAGE_SIZE]
                    listed = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))
                    found |= {str(each.id): each.state for each in listed}
        except SERVER_ERRORS:
            return {}
        gone = {each: ShardExit("its flow run was deleted") for each in shards if each not in found}
        return gone | {each: said for each, state in found.items() if state is not None and (said := _exit_of(state))}

    async def give_up(self, shards: Collection[str]) -> None:
        """Their flow runs are shown as crashed: their worker is gone with them, and would never say so.

        As many as can be in a few seconds: of a run that has ended, the others begin nothing.
        """
        with suppress(*SERVER_ERRORS):
            async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
                await asyncio.gather(*(_crash(client, each) for each in shards))


def _exit_of(state: State) -> ShardExit | None:
    """What this state says of a shard that is over, None of one that is not. One that is at work is known to the ledger."""
    if state.is_final():
        return ShardExit(f"{state.name}: {state.message or 'no more is known'}", refused=state.name == REFUSED)
    if (state.is_pending() or state.is_running()) and datetime.now(UTC) - state.timestamp > START_TIMEOUT:
        return ShardExit(f"a worker took it {START_TIMEOUT.total_seconds() / 60:.0f} minutes ago and has not begun")
    return None


async def _crash(client: PrefectClient, shard: str) -> None:
    try:
        run = await client.read_flow_run(UUID(shard))
        if run.state is None or not run.state.is_final():
            await client.set_flow_run_state(run.id, Crashed(message="nobody waits for it any more"), force=True)
    except SERVER_ERRORS as error:
        get_run_logger().warning("flow run %s could not be shown as crashed: %s", shard, _explain(error))


def _missing_deployment() -> ConfigurationError:
    return ConfigurationError(
        f"--shard-size needs the deployment {DEPLOYMENT} on the Prefect server: `prefect --no-prompt deploy --all` makes it"
    )


def _explain(error: Exception) -> str:
    """What the server says, or what went wrong on the way to it, on one line."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {' '.join(error.response.text.split())[:200]}"
    return type(error).__name__
