"""`tilewise serve`: a local Prefect server and a runner of every deployment, as two children that stop together.

A server that ends early is started again: the runs continue, and report to the new one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from extractors.call.transport import check_client_environment
from extractors.core.errors import ConfigurationError
from flows.adapters.prefect_api import find_other_server, local_url
from flows.serving.database import folder_database
from flows.serving.server import OTHERS, OWN, QUIET, bypass_proxy, is_ready, local_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

RUNNER_STOP_SECONDS = 40.0  # for the runner to end: more than it gives its flow runs
SHORT_LIFE_SECONDS = 60.0  # a server that ends sooner after its start counts as failed
MAX_SHORT_LIVES = 3  # consecutive failed starts until `serve` gives up


def serve(port: int) -> None:
    """Serves until Ctrl-C or SIGTERM, on a server of this folder, or on that of PREFECT_API_URL if it is set.

    Raises ConfigurationError if the port is in use, the folder is served already, or a child does not start or ends.

    Both children start at once: the runner loads the flows while the server makes its database.
    """
    check_client_environment()
    url = find_other_server(port)
    if url is None:
        _check_free(port)
    with (
        folder_database(Path.cwd()) as database,
        _count_stop_signals() as stops,
        contextlib.ExitStack() as servers,
        _start_runner(url or local_url(port), OTHERS if url else OWN) as runner,
    ):
        server = None if url else _Server(port, servers, database.settings)
        while not stops.acquire(timeout=0.5):
            if server:
                server.restart_if_ended()
            if runner.poll() is not None:
                raise ConfigurationError("the deployments are not served: see the error above")
        typer.echo(
            "tilewise: stopping flow runs, which may take half a minute; press Ctrl-C again to stop them immediately"
        )
        _stop_runner(runner, stops)


class _Server:
    """The Prefect server on this port, started again if it ends."""

    def __init__(self, port: int, stack: contextlib.ExitStack, settings: dict[str, str]) -> None:
        """Starts the server with these settings of its database; closing `stack` ends it."""
        self._port, self._stack, self._settings = port, stack, settings
        self._short = 0
        self._answered = False
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._process = self._stack.enter_context(local_server(self._port, self._settings))

    def restart_if_ended(self) -> None:
        """Restarts the server if it has ended. Raises ConfigurationError if it never answered, or keeps ending."""
        code = self._process.poll()
        if code is None:
            self._answered = self._answered or is_ready(f"http://127.0.0.1:{self._port}/api")
            return
        if not self._answered:
            raise ConfigurationError("the Prefect server ended during its start: see its output above")
        self._short = self._short + 1 if time.monotonic() - self._began < SHORT_LIFE_SECONDS else 0
        if self._short >= MAX_SHORT_LIVES:
            raise ConfigurationError(
                f"the Prefect server does not stay up: it ended {MAX_SHORT_LIVES} times within {SHORT_LIFE_SECONDS:.0f} seconds of its start,"
                f" the last time with exit code {code}; see its output above"
            )
        typer.echo(f"tilewise: the Prefect server ended with exit code {code}; starting it again")
        self._stack.close()  # of the server that ended
        self._start()


def _stop_runner(runner: subprocess.Popen[bytes], stops: threading.Semaphore) -> None:
    """Sends SIGTERM to the runner, and again for every further stop signal."""
    runner.terminate()
    while runner.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            runner.wait(1.0)  # two signals at the same time would arrive as one
        if stops.acquire(blocking=False):
            runner.terminate()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a server that has just ended may still occupy the port
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(
                f"port {port} cannot be used ({reason}): choose another port with --port"
            ) from None


@contextlib.contextmanager
def _start_runner(url: str, whose: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the runner in this working directory, so that its runs have the same settings."""
    # PYTHONSAFEPATH: a folder `flows/` or `extractors/` of the project does not replace tilewise in its processes
    environ = os.environ | QUIET | {"PREFECT_API_URL": url, "PYTHONSAFEPATH": "1"}
    bypass_proxy(environ)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.serving.deployments", url, whose],
        stdin=subprocess.PIPE,
        env=environ,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(RUNNER_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


@contextlib.contextmanager
def _count_stop_signals() -> Iterator[threading.Semaphore]:
    """Counts SIGINT and SIGTERM instead of raising exceptions."""
    stops = threading.Semaphore(0)

    def tell(number: int, frame: FrameType | None) -> None:
        del number, frame
        stops.release()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
