"""`tilewise serve`: a local Prefect server and a runner of every deployment, as two children that stop together.

A server that ends in the middle is started again: the runs go on, and report to the new one.
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
from typing import TYPE_CHECKING

import typer

from extractors.core.errors import ConfigurationError
from flows.serving.server import QUIET, is_ready, local_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

RUNNER_STOP_SECONDS = 40.0  # that the runner is given: more than it gives its flow runs
SHORT_LIFE_SECONDS = 60.0  # seconds: a server that ends so soon after its start has not come back
MAX_SHORT_LIVES = 3  # such ends, one after the other, until it is given up


def serve(port: int) -> None:
    """Serves until Ctrl-C or SIGTERM. Raises ConfigurationError when the port is taken, or a child does not start or stay.

    Both children start at once: the runner loads the flows while the server makes its database.
    """
    _check_free(port)
    with _count_stop_signals() as stops, contextlib.ExitStack() as servers, _start_runner(port) as runner:
        server = _Server(port, servers)
        while not stops.acquire(timeout=0.5):
            server.restart_if_ended()
            if runner.poll() is not None:
                raise ConfigurationError("the deployments are not served: the reason stands above")
        typer.echo("tilewise: runs are told to end, and may take half a minute; once more ends them at once")
        _stop_runner(runner, stops)


class _Server:
    """Prefect's server on this port, started again when it ends."""

    def __init__(self, port: int, stack: contextlib.ExitStack) -> None:
        """Starts it; closing `stack` ends it."""
        self._port, self._stack = port, stack
        self._short = 0
        self._answered = False
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._process = self._stack.enter_context(local_server(self._port))

    def restart_if_ended(self) -> None:
        """Starts it again when it has ended. Raises ConfigurationError when it never answered, or does not come back."""
        code = self._process.poll()
        if code is None:
            self._answered = self._answered or is_ready(f"http://127.0.0.1:{self._port}/api")
            return
        if not self._answered:
            raise ConfigurationError("Prefect's server has ended: what it said stands above")
        self._short = self._short + 1 if time.monotonic() - self._began < SHORT_LIFE_SECONDS else 0
        if self._short >= MAX_SHORT_LIVES:
            raise ConfigurationError(
                f"Prefect's server does not come back: it ended {MAX_SHORT_LIVES} times within {SHORT_LIFE_SECONDS:.0f} seconds of its start,"
                f" the last time with exit code {code}; what it said stands above"
            )
        typer.echo(f"tilewise: Prefect's server ended (exit code {code}): it is started again")
        self._stack.close()  # what is left of the one that ended
        self._start()


def _stop_runner(runner: subprocess.Popen[bytes], stops: threading.Semaphore) -> None:
    """Tells the runner to end, and tells it again when a person does."""
    runner.terminate()
    while runner.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            runner.wait(1.0)  # two signals at once would arrive as one
        if stops.acquire(blocking=False):
            runner.terminate()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a server that has just ended is in the way
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"port {port} cannot be used ({reason}): choose another one with --port") from None


@contextlib.contextmanager
def _start_runner(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The runner of the deployments, in this working directory, so that its runs have the same settings."""
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.serving.deployments", address],
        stdin=subprocess.PIPE,
        env=os.environ | QUIET | {"PREFECT_API_URL": f"{address}/api"},
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
    """Counts SIGINT and SIGTERM instead of raising in the middle of something."""
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
