"""Run the app: bind, announce the URL, answer until a stop signal."""

from __future__ import annotations

import math
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override

from extractors.endpoint.app import create_app
from extractors.endpoint.extra import EndpointError
from extractors.endpoint.faults.connection import Connection
from extractors.endpoint.faults.spec import read_faults
from extractors.endpoint.readers import create_reader

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from extractors.endpoint.faults.rehearsal import Rehearsal

_KEEP_ALIVE_SECONDS = 75  # for idle connections, as behind most proxies: a shorter time would add faults
_READS = {"ocr": "reads with RapidOCR", "echo": "echoes the schema"}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `tilewise endpoint`. Port 0 selects a free port."""

    host: str = "127.0.0.1"
    port: int = 8399
    reader: str = "ocr"
    bill: str = "formula"
    latency: float = 0.0
    rpm: float | None = None
    faults: Path | None = None

    def describe(self, url: str) -> str:
        """The line that is printed once it listens."""
        limit = f", at {self.rpm:,g} requests a minute" if self.rpm is not None else ""
        wrong = f", with the faults of {self.faults}" if self.faults is not None else ""
        return f"tilewise endpoint: {url} {_READS[self.reader]}, bills by {self.bill}{limit}{wrong}"


def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Answer requests until SIGINT or SIGTERM; `announce` gets the base URL once the socket listens.

    Raises EndpointError before it listens for a bad limit or a bad file of faults.
    """
    if options.rpm is not None and not 0 < options.rpm < math.inf:
        raise EndpointError(f"rpm: above 0 requests a minute, not {options.rpm:g}")
    app = create_app(
        create_reader(options.reader),
        bill=options.bill,
        latency=options.latency,
        rpm=options.rpm,
        faults=None if options.faults is None else read_faults(options.faults),
    )
    config = uvicorn.Config(
        app,
        options.host,
        options.port,
        http=Connection,
        loop="asyncio",  # broken connections need its sockets; uvicorn would take uvloop where it is installed
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    _Server(config, announce, app.state.rehearsal).run()


def exit_with_parent() -> None:
    """Exit at once when stdin ends, which means that the parent process has closed it or ended."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # not through sys.stdin, whose lock would block the exit
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent").start()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None], rehearsal: Rehearsal) -> None:
        super().__init__(config)
        self._announce = announce
        self._rehearsal = rehearsal

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1")

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._rehearsal.closing.set()
        await super().shutdown(sockets)
