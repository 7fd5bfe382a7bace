"""A Prefect server for one run, as a child process of its own session: Ctrl-C stops the run, not what it reports to.

It is Prefect's temporary server (no UI, no services), started by us: Prefect's own stands in the terminal's process group,
dies of the same Ctrl-C as the run, and lives on when the run is killed.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx

from extractors.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60.0
STOP_SECONDS = 10.0


@contextlib.contextmanager
def temporary_server() -> Iterator[str]:
    """Starts the server, gives its API's URL, and ends it afterwards. Raises ConfigurationError when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.server", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait(process, url)
        yield url
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    """Returns when the server answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise ConfigurationError("Prefect's temporary server did not start: try --direct, or set PREFECT_API_URL")


def main() -> None:
    """The child: serves on the port given, and goes when the parent goes."""
    import uvicorn
    from prefect.server.api.server import create_app

    from extractors.endpoint.serve import exit_with_parent

    exit_with_parent()
    app = create_app(ephemeral=True, final=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
