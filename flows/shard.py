"""Shard: one piece of a parent's run, as a flow run of its own that any worker of the pool may take."""

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
from extractors.run.hooks import RunHooks
from extractors.run.shards.worker import work_on
from flows.adapters.artifacts import followed
from flows.adapters.rate_limit import leased
from flows.adapters.secrets import flow_settings
from flows.adapters.shards import REFUSED
from flows.extract import as_task, make_notifier

if TYPE_CHECKING:
    from extractors.record.ledger.shards import ShardAttempt


def name() -> str:
    """The name of the flow run: the run that it is a piece of, and which."""
    piece: ShardSpec = flow_run.parameters["piece"]
    return f"{piece.run}, shard {piece.number}"


@flow(name="shard", flow_run_name=name, persist_result=False)
async def shard(shard: ShardSpec) -> State:
    """Works on a piece of a plan for the run that it belongs to, which publishes what is staged here."""
    log = get_run_logger()
    try:
        settings = await flow_settings()
        with Progress() as progress:
            progress.expect(shard.count)
            hooks = RunHooks(as_task, progress.tell, progress.expect, make_notifier(progress), flow_run.id, leased)
            with CancelScope(shield=True):  # Prefect cancels a flow whose server it cannot reach
                async with followed(progress):
                    ended = await work_on(shard, settings, hooks)
    except ConfigurationError as error:
        return Failed(name=REFUSED, message=error.message)
    except TilewiseError as error:
        return Failed(message=error.message)
    log.info("ended: %s", said(ended))
    if ended.status == COMPLETED:
        return Completed(message=said(ended))
    return Failed(message=said(ended))


def said(ended: ShardAttempt) -> str:
    """What became of the piece, in a few words."""
    counts = f"{ended.accepted:,} accepted, {ended.failed:,} not"
    return counts if ended.status == COMPLETED else f"{counts}; stopped: {ended.message}"
