"""Shards as flow runs of the deployment `shard`: started, and looked after, by the flow run of their parent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger
from prefect.states import Crashed

from extractors.errors import ConfigurationError
from extractors.slice import Over

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from prefect.client.schemas.objects import State

    from extractors.slice import Slice

DEPLOYMENT = "shard/shard"
REFUSED = "Refused"  # the state of a shard that could not begin, and could not at another try
AT_ONCE = 100  # flow runs asked for at once: the server gives no more than 200
TROUBLE = (httpx.HTTPError, PrefectException, OSError)


class Shards:
    """A `Starter`: the deployment `shard` of the Prefect server in use."""

    poll = 2.0

    async def start(self, piece: Slice) -> str | None:
        """Has the work pool run it. Raises ConfigurationError when there is no such deployment."""
        try:
            run = await arun_deployment(
                DEPLOYMENT, parameters={"piece": piece.model_dump(mode="json")}, timeout=0, as_subflow=True
            )
        except ObjectNotFound:
            raise ConfigurationError(
                f"--shard-size needs the deployment {DEPLOYMENT} on the Prefect server: `prefect deploy --all` makes it"
            ) from None
        except TROUBLE as error:
            get_run_logger().warning("a shard could not be started yet: %s", type(error).__name__)
            return None
        return str(run.id)

    async def over(self, shards: Collection[str]) -> Mapping[str, Over]:
        """Those whose flow run is in a final state, or deleted; none while the server does not answer."""
        asked = [UUID(each) for each in shards]
        found: dict[str, State | None] = {}
        try:
            async with get_client() as client:
                for first in range(0, len(asked), AT_ONCE):
                    ids = asked[first : first + AT_ONCE]
                    listed = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))
                    found |= {str(each.id): each.state for each in listed}
        except TROUBLE:
            return {}
        states = {each: found.get(each) for each in shards}
        gone = {each: Over("its flow run was deleted") for each in shards if each not in found}
        return gone | {
            each: Over(f"{state.name}: {state.message or 'no more is known'}", refused=state.name == REFUSED)
            for each, state in states.items()
            if state is not None and state.is_final()
        }

    async def give_up(self, shard: str) -> None:
        """Its flow run is shown as crashed: its worker is gone with it, and would never say so."""
        try:
            async with get_client() as client:
                run = await client.read_flow_run(UUID(shard))
                if run.state is None or not run.state.is_final():
                    await client.set_flow_run_state(run.id, Crashed(message="its process is gone"), force=True)
        except TROUBLE:
            get_run_logger().warning("flow run %s could not be shown as crashed", shard)
