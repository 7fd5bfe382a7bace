"""A Prefect server as a child process of its own session: Ctrl-C stops the run, not what it reports to.

For one run it is Prefect's temporary server (no UI, no services), started by us: Prefect's own stands in the terminal's process
group, dies of the same Ctrl-C as the run, and lives on when the run is killed. For `serve` it is the whole server, on
SQLite in Prefect's home.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx

from extractors.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 120.0  # a new database is made first
STOP_SECONDS = 10.0
TEMPORARY, LOCAL = "temporary", "local"
# Whatever a run tells anybody, it tells its own server alone.
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
# Events written in larger batches: on SQLite, smaller ones make whoever takes a rate limit wait for seconds.
BATCH = ("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE", "500")


@contextlib.contextmanager
def temporary_server() -> Iterator[str]:
    """Starts the server, gives its API's URL, and ends it afterwards. Raises ConfigurationError when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _started(TEMPORARY, port, os.environ, subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}/api"
        if not _answers(process, url):
            raise ConfigurationError("Prefect's temporary server did not start: try --direct, or set PREFECT_API_URL")
        yield url


@contextlib.contextmanager
def local_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the whole server on a free port, and ends it afterwards. Raises ConfigurationError when it does not start."""
    url = f"http://127.0.0.1:{port}/api"
    environ = (
        dict([BATCH]) | os.environ | QUIET | {"PREFECT_UI_API_URL": url, "PREFECT_UI_URL": url.removesuffix("/api")}
    )
    environ.pop("PREFECT_API_URL", None)  # of another server
    with _started(LOCAL, port, environ, None) as process:
        if not _answers(process, url):
            raise ConfigurationError(f"Prefect's server did not start on port {port}: what it said stands above")
        yield process


@contextlib.contextmanager
def _started(
    kind: str, port: int, environ: os._Environ[str] | dict[str, str], said: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.server", kind, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=said,
        env=environ,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """Waits until the server answers; false when it has ended, or takes too long."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return True
        time.sleep(0.1)
    return False


def main() -> None:
    """The child: serves on the port given, and goes when the parent goes."""
    import uvicorn
    from prefect.server.api.server import create_app

    from extractors.endpoint.serve import exit_with_parent

    exit_with_parent()
    app = create_app(ephemeral=sys.argv[1] == TEMPORARY, final=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main()
