"""The process that runs the deployments of `prefect.yaml` for `tilewise serve`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import typer
from prefect.deployments.runner import DeploymentApplyError
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from typing_extensions import override

from extractors.config.settings import read_settings
from extractors.core.errors import ConfigurationError, TilewiseError
from flows.adapters.checks import verify_server
from flows.adapters.rate_limit import ensure_limit
from flows.serving.deployment_file import FILE, load_deployments
from flows.serving.server import OTHERS, OWN, wait_until_ready
from flows.serving.stale_runs import crash_stale_runs
from flows.serving.verdict import check_schedules, find_older_deployments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flows.serving.deployment_file import DeploymentSpec

GRACE_SECONDS = 30.0  # for running flow runs to end, as in Prefect's own runner
POLL_SECONDS = 2.0  # between two queries for scheduled runs
WATCH_SECONDS = 10.0  # between two checks for runs that an outage of the server left behind


class _Runner(Runner):
    """A runner that ends its flow runs with one SIGTERM each, so that they publish their results."""

    def active_runs(self) -> set[UUID]:
        """The flow runs that it is starting or running."""
        return set(self._scheduled_run_poller._submitting_flow_run_ids)  # noqa: SLF001 - there is no public property

    async def cancel_late(self) -> None:
        """Handles cancellations that were missed: after an outage of the server, Prefect's runner may not receive them."""
        if observer := self._cancelling_observer:
            await observer._check_for_cancelled_flow_runs()  # type: ignore[no-untyped-call]  # noqa: SLF001 - its own periodic check

    @override
    async def cancel_all(self) -> None:
        """Sends SIGTERM to all flow runs, which form the group of this process. Leaving the runner waits for them."""
        ours = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        signal.signal(signal.SIGTERM, ours)


async def serve(deployments: Sequence[DeploymentSpec], url: str, *, own: bool) -> None:
    """Registers the deployments and runs scheduled flow runs until a stop signal; running flow runs end first.

    `own`: no other process runs these deployments, so a run without a process here was lost.
    Creates a limit from TILEWISE_RPM on the server, so that concurrent runs share it.
    """
    settings = read_settings()
    limit = await ensure_limit(settings)
    runner = _Runner(name="tilewise", pause_on_shutdown=False, query_seconds=POLL_SECONDS)
    registered = [await _register(runner, each) for each in deployments]
    left_over = await crash_stale_runs(registered, set) if own else 0  # this process has started none yet
    running = asyncio.create_task(runner.start())
    await asyncio.sleep(0)  # it has installed its signal handlers, which are replaced next
    _install_stop_handler(runner)
    _print(f"serving {', '.join(each.name for each in deployments)} at {url.removesuffix('/api')} (stop with Ctrl-C)")
    _print(f"for the command prefect: export PREFECT_API_URL={url}")
    if limit:
        _print(f"all runs share TILEWISE_RPM={settings.rpm:g} through the rate limit {limit}")
    _report_crashed(left_over)
    watched = registered if own else []
    beside = [asyncio.create_task(_watch_runs(runner, watched)), asyncio.create_task(_print_verdict(deployments))]
    await running
    for task in beside:
        task.cancel()


async def _register(runner: Runner, deployed: DeploymentSpec) -> UUID:
    try:
        return await runner.aadd_deployment(deployed.to_runner_deployment())
    except DeploymentApplyError as error:
        raise ConfigurationError(f"{FILE}: {deployed.name}: {_explain_refusal(error)}") from None


async def _watch_runs(runner: _Runner, registered: Sequence[UUID]) -> None:
    """Repairs periodically what an outage of the server left behind."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        with contextlib.suppress(
            httpx.HTTPError, PrefectException, OSError, ValueError, RuntimeError
        ):  # the server does not answer, or not as expected
            await runner.cancel_late()
            if registered:
                _report_crashed(await crash_stale_runs(registered, runner.active_runs))


async def _print_verdict(deployments: Sequence[DeploymentSpec]) -> None:
    """Prints whether the scheduled deployments can run, and where older deployments are left."""
    for line in [find_older_deployments(), *await check_schedules(deployments)]:
        if line:
            _print(line)


def _report_crashed(left_over: int) -> None:
    if left_over:
        _print(f"{left_over} flow run(s) without a process were set to Crashed and no longer block other runs")


def _print(words: str) -> None:
    typer.echo(f"tilewise: {words}")


def _install_stop_handler(runner: _Runner) -> None:
    """On SIGTERM or when the parent ends: stops the flow runs, and kills the remaining ones after a grace period."""
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if stopping:
            stopping.append(loop.create_task(runner.cancel_all()))  # a second signal: stop immediately
            return
        loop.call_later(GRACE_SECONDS, os.killpg, 0, signal.SIGKILL)
        stopping.append(loop.create_task(runner.astop()))

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        loop.call_soon_threadsafe(stop)

    loop.add_signal_handler(signal.SIGTERM, stop)
    threading.Thread(target=watch, daemon=True, name="parent").start()


def _explain_refusal(error: DeploymentApplyError) -> str:
    """The reason why Prefect refuses a deployment, on one line, without the request."""
    text = " ".join(str(error).split())
    reason = re.search(r"Validation failed for field '([^']*)'\. Failure reason: (.*?)\"", text)
    return f"{reason[1]}: {reason[2]}" if reason else text[:200]


def main() -> None:
    """The child of `tilewise serve`: leads a separate process group, which contains its flow runs."""
    url, whose = sys.argv[1:]
    try:
        deployments = load_deployments()
        if whose == OTHERS:
            asyncio.run(verify_server())
        elif not wait_until_ready(url):
            raise ConfigurationError(f"the Prefect server does not answer at {url}")
        asyncio.run(serve(deployments, url, own=whose == OWN))
    except TilewiseError as error:
        sys.exit(f"tilewise: {error.message}")


if __name__ == "__main__":
    main()
