"""How the command starts a run: directly, or as a Prefect flow on the configured server or a temporary one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from extractors.core.errors import ApprovalRequired, ConfigurationError, TilewiseError
from flows.adapters.prefect_api import is_prefect_configured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prefect.client.schemas.objects import State

    from extractors.config.job import Job
    from extractors.config.settings import Settings
    from extractors.plan.apply import ApplyRequest
    from extractors.run.calibrate import Calibrated
    from extractors.run.result import RunResult


def run_with_confirmation(job: Job, settings: Settings, *, as_flow: bool) -> RunResult:
    """Runs the job; asks on a terminal when the estimate needs a yes."""
    try:
        return _run(job, settings, as_flow=as_flow)
    except ApprovalRequired as error:
        _confirm(error)
        return _run(job.model_copy(update={"yes": True}), settings, as_flow=as_flow)


def apply_with_confirmation(request: ApplyRequest, settings: Settings) -> RunResult:
    """Runs a stored plan; asks on a terminal when it needs a yes."""
    try:
        return _apply(request, settings)
    except ApprovalRequired as error:
        _confirm(error)
        return _apply(request.model_copy(update={"yes": True}), settings)


def calibrate_with_confirmation(settings: Settings, model: str | None, *, yes: bool) -> Calibrated:
    """Sends the probes; asks on a terminal when they need a yes."""
    import asyncio

    from extractors.run.calibrate import calibrate

    def say(words: str) -> None:
        typer.echo(f"tilewise: {words}", err=True)

    try:
        return asyncio.run(calibrate(settings, model, yes=yes, say=say))
    except ApprovalRequired as error:
        _confirm(error)
        return asyncio.run(calibrate(settings, model, yes=True, say=say))


def _confirm(error: ApprovalRequired) -> None:
    """Asks a person at a terminal. Raises the error where there is none, and ConfigurationError for a no."""
    if not sys.stdin.isatty():
        raise error
    question = error.message.partition(":")[0]
    if not typer.confirm(f"{question}. Go on?", err=True):
        raise ConfigurationError(f"not started: {error.message}")


def _apply(request: ApplyRequest, settings: Settings) -> RunResult:
    import asyncio

    from extractors.plan.stored_plan import StoredPlan

    agreed = StoredPlan(request.url).agreed()
    asked = request.brief(agreed, settings)
    if asked.job.shard_size is not None and is_prefect_configured():
        from extractors.run.session import require_approval
        from flows.apply import apply

        if not request.yes and request.budget is None:
            require_approval(asked, agreed.costs, videos=False)

        return asyncio.run(_await_result(lambda: apply(request, return_state=True)))

    from extractors.report.progress import Progress
    from extractors.run import pipeline

    with Progress() as progress:
        hooks = pipeline.RunHooks(on_document=progress.add, on_total=progress.set_total, notify=progress.notify)
        return asyncio.run(pipeline.apply(request, settings, hooks))


def _run(job: Job, settings: Settings, *, as_flow: bool) -> RunResult:
    import asyncio

    if as_flow:
        return _run_as_flow(job)
    from extractors.report.progress import Progress
    from extractors.run import pipeline

    with Progress() as progress:
        hooks = pipeline.RunHooks(on_document=progress.add, on_total=progress.set_total, notify=progress.notify)
        closing = asyncio.run(pipeline.run(job, settings, hooks))
    typer.echo("tilewise: ran directly; --prefect runs it as a flow", err=True)
    return closing


def _run_as_flow(job: Job) -> RunResult:
    """The same pipeline inside a flow run, on the configured Prefect server or on a temporary one."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if is_prefect_configured():
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        return _start_flow_run(job)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # what a run has to say, it says itself
    from flows.serving.server import temporary_server

    with temporary_server() as url:
        os.environ["PREFECT_API_URL"] = url
        os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"  # nobody reads its logs, and it ends before the last
        return _start_flow_run(job)


def _start_flow_run(job: Job) -> RunResult:
    import asyncio
    import gc

    gc.disable()  # nothing that Prefect imports goes again: looking for it is a seventh of the time that this takes
    from flows.extract import extract

    gc.freeze()
    gc.enable()
    return asyncio.run(_await_result(lambda: extract(job, return_state=True)))


async def _await_result(begun: Callable[[], Awaitable[State]]) -> RunResult:
    """What a flow run came to. Raises what it was stopped by."""
    from extractors.run.result import RunResult

    state = await begun()
    end = await state.aresult(raise_on_failure=False)
    if isinstance(end, RunResult):
        return end
    raise end if isinstance(end, TilewiseError) else TilewiseError(f"the flow run ended early: {end}")
