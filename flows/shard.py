"""Shard: one part of a run, as a separate flow run that any worker of the pool can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CancelScope
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from extractors.core.errors import ConfigurationError, TilewiseError
from extractors.core.shards import ShardSpec
from extractors.record.ledger.shards import COMPLETED
from extractors.report.progress import Progress
from extractors.run.shards.worker import run_shard
from flows.adapters.artifacts import follow_progress
from flows.adapters.form import describe
from flows.adapters.secrets import load_flow_settings
from flows.adapters.shards import REFUSED
from flows.adapters.suspension import end_if_cancelled, stop_when_suspended
from flows.extract import build_hooks

if TYPE_CHECKING:
    from extractors.record.ledger.shards import ShardAttempt


def shard_run_name() -> str:
    """The name of the flow run: the id of its parent run and the number of the shard."""
    spec: ShardSpec = flow_run.parameters["spec"]
    return f"{spec.run}, shard {spec.number}"


@flow(name="shard", flow_run_name=shard_run_name, retries=0, persist_result=False)
async def shard(spec: ShardSpec) -> State:
    """Processes one part of a plan; the parent run publishes the rows that are staged here."""
    log = get_run_logger()
    try:
        settings = await load_flow_settings()
        with Progress() as progress:
            progress.set_total(spec.count)
            hooks = build_hooks(progress)
            with CancelScope(shield=True):  # Prefect cancels a flow whose server does not answer
                async with follow_progress(progress), stop_when_suspended(hooks.stop_switch):
                    ended = await run_shard(spec, settings, hooks)
    except ConfigurationError as error:
        return Failed(name=REFUSED, message=describe(error.message))
    except TilewiseError as error:
        return Failed(message=describe(error.message))
    log.info("ended: %s", describe_attempt(ended))
    await end_if_cancelled()
    if ended.status == COMPLETED:
        return Completed(message=describe_attempt(ended))
    return Failed(message=describe_attempt(ended))


def describe_attempt(ended: ShardAttempt) -> str:
    """The result of the shard in a few words."""
    counts = f"{ended.accepted:,} accepted, {ended.failed:,} not accepted"
    return counts if ended.status == COMPLETED else f"{counts}; stopped: {ended.message}"
