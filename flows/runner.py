"""Starts runs for the command: directly, or as a Prefect flow on the configured server or a temporary one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import typer

from extractors.core.errors import TilewiseError, first_line
from extractors.report.progress import Progress
from flows.adapters.prefect_api import is_prefect_configured
from flows.console import terminal_confirm
from flows.start_up import without_certificates, without_collection, without_httpx_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from prefect.client.schemas.objects import State

    from extractors.config.job import Job
    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.plan.apply import ApprovedPlan
    from extractors.plan.apply_request import ApplyRequest
    from extractors.run.calibrate import CalibrationResult
    from extractors.run.hooks import RunHooks
    from extractors.run.result import RunResult

Returned = TypeVar("Returned")


def run(config: RunConfig, *, as_flow: bool) -> RunResult:
    """Runs the job; asks on a terminal to confirm its cost if needed."""
    if as_flow:
        return _run_as_flow(config.job)
    with without_collection(), without_certificates(), without_httpx_command():
        from extractors.run import pipeline

    with Progress(budget=config.job.budget) as progress:
        result = run_loop(pipeline.run(config, _build_hooks(progress)))
    typer.echo("tilewise: ran without Prefect; use --prefect to run it as a flow", err=True)
    return result


def apply(request: ApplyRequest, settings: Settings) -> RunResult:
    """Runs a stored plan; asks on a terminal to confirm its cost if needed."""
    plan = request.resolve(settings)
    if plan.config.job.shard_size is not None and is_prefect_configured():
        import asyncio

        return asyncio.run(_apply_as_flow(request, plan))
    with without_collection(), without_certificates(), without_httpx_command():
        from extractors.run import pipeline

    with Progress(budget=plan.config.job.budget) as progress:
        return run_loop(pipeline.apply(plan, _build_hooks(progress)))


def calibrate(settings: Settings, model: str | None, *, yes: bool) -> CalibrationResult:
    """Sends the probes; asks on a terminal to confirm their cost if needed."""
    import asyncio

    from extractors.run.calibrate import calibrate
    from extractors.run.hooks import RunHooks

    def notify(text: str) -> None:
        typer.echo(f"tilewise: {text}", err=True)

    hooks = RunHooks(notify=notify, confirm=terminal_confirm())
    return asyncio.run(calibrate(settings, model, hooks, yes=yes))


def run_loop(main: Coroutine[object, object, Returned]) -> Returned:
    """Runs this to its end in uvloop's event loop, in which a run takes about a tenth less CPU than in asyncio's."""
    try:
        import uvloop
    except ImportError:  # uvloop does not support Windows
        import asyncio

        return asyncio.run(main)
    return uvloop.run(main)


def _build_hooks(progress: Progress) -> RunHooks:
    """The hooks of a run without an orchestrator."""
    from extractors.run.hooks import RunHooks

    return RunHooks(
        on_document=progress.add,
        on_calls=progress.add_calls,
        on_total=progress.set_total,
        notify=progress.notify,
        confirm=terminal_confirm(progress),
    )


async def _apply_as_flow(request: ApplyRequest, plan: ApprovedPlan) -> RunResult:
    """Runs a plan in shards: as a flow, which takes the plan as approved."""
    from extractors.run.approval import require_approval
    from flows.adapters.checks import verify_server
    from flows.apply import apply as apply_flow

    await verify_server()
    await require_approval(plan.config, plan.info.costs, terminal_confirm(), documents=plan.info.documents)
    return await _await_result(lambda: apply_flow(request, return_state=True))


def _run_as_flow(job: Job) -> RunResult:
    """Runs the pipeline inside a flow run, on the configured Prefect server or on a temporary one."""
    from extractors.call.transport import check_client_environment

    check_client_environment()
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if is_prefect_configured():
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        return _start_flow_run(job, configured=True)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # the run prints its own messages
    from flows.serving.server import bypass_proxy, temporary_server

    bypass_proxy(os.environ)
    with temporary_server() as url:
        os.environ["PREFECT_API_URL"] = url
        os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = (
            "false"  # the temporary server keeps no logs, and ends before the last message
        )
        return _start_flow_run(job)


def _start_flow_run(job: Job, *, configured: bool = False) -> RunResult:
    import asyncio

    with without_collection(), without_certificates(), without_httpx_command():
        from flows.adapters.checks import verify_server
        from flows.extract import CONFIRM, extract

    CONFIRM.set(terminal_confirm)
    job = job.model_copy(update={"when_expensive": "stop"})  # asks on a terminal

    async def run() -> RunResult:
        if configured:
            await verify_server(", or use --direct")
        return await _await_result(lambda: extract(job, return_state=True))

    return asyncio.run(run())


async def _await_result(begin: Callable[[], Awaitable[State]]) -> RunResult:
    """The result of a flow run. Raises the error that stopped it."""
    import httpx
    from prefect.exceptions import PrefectException

    from extractors.run.result import RunResult

    try:
        state = await begin()
        outcome = await state.aresult(raise_on_failure=False)
    except (httpx.HTTPError, PrefectException, OSError, RuntimeError, ValueError) as error:  # of Prefect's own client
        raise TilewiseError(
            f"the Prefect server did not record the flow run ({type(error).__name__}: {first_line(error)}): answered calls"
            " are stored in the ledger and published rows are kept; run again, or use --direct"
        ) from error
    if isinstance(outcome, RunResult):
        return outcome
    raise outcome if isinstance(outcome, TilewiseError) else TilewiseError(f"the flow run ended early: {outcome}")
