"""A Prefect server as a child process in its own session: Ctrl-C stops the run, not its server.

For one run it is a temporary server without UI and services. Prefect's own temporary server would belong to the process
group of the terminal: it would end on the same Ctrl-C as the run, and outlive a killed run. For `serve` it is the complete
server, on a database of the folder that is served.
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

from extractors.core.errors import ConfigurationError
from flows.serving.database import save_template, temporary_database
from flows.start_up import without_collection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

START_SECONDS = 120.0  # includes the creation of a new database
STOP_SECONDS = 10.0
TEMPORARY, LOCAL = "temporary", "local"
OWN, OTHERS = "own", "others"  # whose server the runner of `serve` uses
# No telemetry: a run reports only to its own server.
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
DEFAULTS = {  # of the local server; settings of the user win
    # Events are written in larger batches: on SQLite, small ones delay the acquire of a rate limit by seconds.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    # A new schedule is evaluated within a second: its first run may be due.
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
    # On disk, not in memory: after a restart, the server knows which run holds the slot of a deployment.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


def bypass_proxy(environ: MutableMapping[str, str]) -> None:
    """Exempts this machine from proxies of the environment, which cannot reach a server on it."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in environ.get(name, environ.get("NO_PROXY", "")).split(",") if host]
        environ[name] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))


@contextlib.contextmanager
def temporary_server() -> Iterator[str]:
    """Starts the server, gives its API URL, and ends it afterwards. Raises ConfigurationError if it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        temporary_database() as database,
        _start_server(TEMPORARY, port, {**os.environ, **database.settings}, subprocess.DEVNULL) as process,
    ):
        url = f"http://127.0.0.1:{port}/api"
        if not wait_until_ready(url, lambda: process.poll() is None):
            raise ConfigurationError("the temporary Prefect server did not start: use --direct, or set PREFECT_API_URL")
        save_template(database)
        yield url


@contextlib.contextmanager
def local_server(port: int, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the complete server on a free port with these settings of its database, and ends it afterwards.

    Wait for it with `wait_until_ready`.
    """
    url = f"http://127.0.0.1:{port}/api"
    shown = {"PREFECT_UI_API_URL": url, "PREFECT_UI_URL": url.removesuffix("/api")}
    environ = DEFAULTS | os.environ | QUIET | shown | settings
    environ.pop("PREFECT_API_URL", None)  # of another server
    with _start_server(LOCAL, port, environ, None) as process:
        yield process


@contextlib.contextmanager
def _start_server(
    kind: str, port: int, environ: dict[str, str], stderr: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "flows.serving.server",
            kind,
            str(port),
        ],  # -P: the folder may have `flows/` of its own
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
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


def wait_until_ready(url: str, lives: Callable[[], bool] = lambda: True) -> bool:
    """Waits until the server answers; False if it ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and lives():
        if is_ready(url):
            return True
        time.sleep(0.1)
    return False


def is_ready(url: str) -> bool:
    """Whether the server answers."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health", trust_env=False).is_success
    return False


def main() -> None:
    """The child: serves on the given port, and ends with its parent."""
    from extractors.endpoint.serve import exit_with_parent

    exit_with_parent()
    with without_collection():
        import uvicorn
        from prefect.server.api.server import create_app

    app = create_app(ephemeral=sys.argv[1] == TEMPORARY, final=True)
    port = int(sys.argv[2])
    uvicorn.run(app, host="127.0.0.1", port=port, loop="asyncio", log_level="error", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main()
