"""The nightly flow: the pipeline, with its chunks awaited as Prefect tasks in the flow's own event loop."""

from __future__ import annotations

from typing import cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.utilities.annotations import quote

from extractors import pipeline
from extractors.chunk import Chunk
from extractors.errors import ConfigurationError
from extractors.job import Job
from extractors.pipeline import How
from extractors.report.progress import Progress
from extractors.settings import read_settings
from extractors.tally import Tally
from flows.permits import leased


@task(name="chunk", task_run_name="chunk {number}", cache_policy=NO_CACHE, retries=0, persist_result=False)
async def run_chunk(number: int, chunk: Chunk) -> Tally:
    """One chunk: hundreds of documents, so that tracking it costs next to nothing a document."""
    del number  # names the task run
    return await chunk.run()


async def _as_task(chunk: Chunk) -> Tally:
    # Quoted, so that Prefect does not walk through hundreds of documents in search of futures.
    return await run_chunk(chunk.number, cast("Chunk", quote(chunk)))


@flow(name="extract", persist_result=False)
async def extract(job: Job) -> State:
    """Turns the images of a source into validated rows in Parquet; the state says in words how it ended."""
    try:
        with Progress() as progress:
            how = How(_as_task, progress.tell, progress.expect, progress.say, flow_run.id, leased)
            closing = await pipeline.run(job, read_settings(), how)
    except ConfigurationError as error:
        return Failed(message=error.message, data=error)
    if closing.exit_code == 3:  # stopped as told: the rest waits for the next run
        return Completed(name="Partial", message=closing.message, data=closing)
    ended = Failed if closing.exit_code else Completed
    return ended(message=closing.message, data=closing)
