"""Run the app: bind, say where it listens, answer until it is told to stop."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override

from extractors.endpoint.answer import reader
from extractors.endpoint.app import create_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_READS = {"ocr": "reads with RapidOCR", "echo": "echoes the schema"}


@dataclass(frozen=True, slots=True)
class Options:
    """What `tilewise endpoint` is asked to do. Port 0 takes any that is free."""

    host: str = "127.0.0.1"
    port: int = 8399
    reader: str = "ocr"
    bill: str = "formula"
    latency: float = 0.0

    def sentence(self, url: str) -> str:
        """The line that a person reads once it listens."""
        return f"tilewise endpoint: {url} {_READS[self.reader]}, bills by {self.bill}"


def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Answer requests until SIGINT or SIGTERM; `announce` gets the base URL once the socket listens."""
    app = create_app(reader(options.reader), bill=options.bill, latency=options.latency)
    config = uvicorn.Config(app, options.host, options.port, log_level="warning", access_log=False, lifespan="off")
    _Server(config, announce).run()


def exit_with_parent() -> None:
    """Leave at once when stdin ends: whoever holds its other end has closed it, or is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # not through sys.stdin, whose lock would break the exit
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent").start()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1")
