"""Extract: the pipeline as a flow, whose chunks run as Prefect tasks in the event loop of the flow."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from anyio import CancelScope
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.utilities.annotations import quote

from extractors.config.job import FAIL_ABOVE, Job
from extractors.config.run_config import resolve
from extractors.core.errors import ConfigurationError, TilewiseError
from extractors.core.totals import RunTotals
from extractors.plan.estimate import estimate_job
from extractors.plan.sampling import REMOTE
from extractors.record.output import open_output
from extractors.report.page import write_report
from extractors.report.page.pictures import PictureReader
from extractors.report.progress import Progress
from extractors.report.summary import failure_lines
from extractors.run import pipeline
from extractors.run.approval import approval_reason, is_preapproved
from extractors.run.chunk import Chunk
from extractors.run.pipeline import RunHooks
from flows.adapters.artifacts import TIMEOUT_SECONDS, follow_progress, show_run
from flows.adapters.form import describe, read_parameters
from flows.adapters.naming import flow_run_name, summarize
from flows.adapters.rate_limit import lease_rate
from flows.adapters.secrets import load_flow_settings
from flows.adapters.shards import PrefectShards
from flows.adapters.suspension import end_if_cancelled, stop_when_suspended
from flows.estimate import run_estimate, run_plan
from flows.preflight import check_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from extractors.config.settings import Settings
    from extractors.run.hooks import Confirm
    from extractors.run.result import RunResult


REPORT_SECONDS = 120.0  # for the report page, of which pictures may take half
# Makes the question to a person who has started the flow run at a terminal; elsewhere there is none.
CONFIRM: ContextVar[Callable[[Progress], Confirm | None]] = ContextVar("confirm", default=lambda _: None)


@task(name="chunk", task_run_name="chunk {number}", cache_policy=NO_CACHE, retries=0, persist_result=False)
async def run_chunk(number: int, chunk: Chunk) -> RunTotals:
    """One chunk of several hundred documents, so that the cost of tracking it per document is small."""
    del number  # names the task run
    return await chunk.run()


async def as_task(chunk: Chunk) -> RunTotals:
    """Runs a chunk as a task of this flow run, in its event loop."""
    # Quoted, so that Prefect does not search hundreds of documents for futures.
    return await run_chunk(chunk.part.part, cast("Chunk", quote(chunk)))


@flow(name="extract", flow_run_name=flow_run_name, retries=0, persist_result=False, validate_parameters=False)
async def extract(job: Job) -> State:
    """Extracts validated rows from the images of a source into Parquet; the final state summarizes the run."""
    return await run_job(job)


async def run_job(sent: Job) -> State:
    """Runs the job that was sent inside a flow run; returns the final state."""
    try:
        job = with_failure_threshold(read_parameters(Job, sent))
        if job.dry_run:
            return await run_estimate(job)
        settings = await load_flow_settings()
        if job.plan_only or not await asyncio.to_thread(_may_run, job, settings):
            return await run_plan(resolve(job, settings))
    except TilewiseError as error:
        return Failed(message=describe(error.message), data=error)
    if job.when_expensive != "stop":
        job = job.model_copy(update={"yes": True})  # an expensive job was planned above, or is to run

    async def start(settings: Settings, hooks: RunHooks) -> RunResult:
        config = await asyncio.to_thread(check_job, job, settings)
        return await pipeline.run(config, hooks)

    return await run_in_flow(start)


def _may_run(job: Job, settings: Settings) -> bool:
    """Whether the job is to run now; else it is to be planned, because its estimate needs approval. Blocks."""
    if job.when_expensive != "plan":
        return True
    config = resolve(job, settings)
    return is_preapproved(config) or approval_reason(config, estimate_job(config, REMOTE, done=True).costs) is None


def with_failure_threshold(job: Job) -> Job:
    """The job with the failure threshold of deployments, unless the job sets its own."""
    return job if "fail_above" in job.model_fields_set else job.model_copy(update={"fail_above": FAIL_ABOVE})


async def run_in_flow(start: Callable[[Settings, RunHooks], Awaitable[RunResult]]) -> State:
    """Runs the pipeline inside a flow run, shows the result, and returns the final state."""
    log = get_run_logger()
    log.info("started: %s", flow_run_name())
    try:
        settings = await load_flow_settings()
        with Progress() as progress:
            hooks = replace(build_hooks(progress), shards=PrefectShards(), confirm=CONFIRM.get()(progress))
            # Shielded: Prefect cancels a flow whose server does not answer, but the run has to finish and publish.
            with CancelScope(shield=True):
                async with follow_progress(progress), stop_when_suspended(hooks.stop_switch):
                    result = await start(settings, hooks)
    except TilewiseError as error:
        log.info("ended: %s", describe(error.message))
        return Failed(message=describe(error.message), data=error)
    log.info("ended: %s", describe(result.message))
    for line in failure_lines(result.counts.totals):
        log.warning("%s", line)
    await show_run(result, await _write_report(result, settings))
    await end_if_cancelled()
    return final_state(result)


def build_hooks(progress: Progress) -> RunHooks:
    """The hooks of a run or a shard inside a flow run: its tasks, progress, messages and rate limit."""
    return RunHooks(
        run_chunk=as_task,
        on_document=progress.add,
        on_calls=progress.add_calls,
        on_total=progress.set_total,
        notify=_make_notifier(progress),
        flow_run_id=flow_run.id,
        permits=lease_rate,
    )


def _make_notifier(progress: Progress) -> Callable[[str], None]:
    """A function that writes a message to the terminal and to the log of the flow run."""
    log = get_run_logger()

    def say(words: str) -> None:
        progress.notify(words)
        log.info("%s", describe(words))

    return say


async def _write_report(result: RunResult, settings: Settings) -> str | None:
    """Writes the report page and returns its path; returns None and logs a warning if that fails or takes too long.

    A run without documents and calls has no page.
    """
    terms, totals = result.record.run_info, result.counts.totals
    if not (totals.done or totals.calls):
        return None
    # A run that is asked to stop has half a minute for everything.
    seconds = TIMEOUT_SECONDS if result.exit_code == 3 else REPORT_SECONDS
    try:
        async with asyncio.timeout(seconds):
            reader = PictureReader(settings.allow_hosts, settings.pdf_passwords, seconds / 2)
            return await asyncio.to_thread(lambda: write_report(open_output(terms.output), terms.run, reader))
    except (ConfigurationError, TimeoutError) as error:
        get_run_logger().warning(
            "the report page was not written: %s", str(error) or f"it took more than {seconds:.0f} s"
        )
        return None


def final_state(result: RunResult) -> State:
    """Completed; `Partial` after a requested stop; Failed above --fail-above or after an error."""
    if result.exit_code == 3:  # the next run takes the remaining documents
        return Completed(name="Partial", message=describe(summarize(result)), data=result)
    end = Failed if result.exit_code else Completed
    return end(message=describe(summarize(result)), data=result)
