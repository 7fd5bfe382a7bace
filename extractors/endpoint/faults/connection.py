"""A connection of uvicorn that can be broken on purpose, and that sends a response in one piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from typing_extensions import override
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from extractors.endpoint.faults.network import TRANSPORT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two classes, chosen when uvicorn starts
    """Gives the app access to the transport: ASGI has no message that breaks a connection."""

    app: ASGIApp

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:
        joined = _Joined(transport)
        super().connection_made(joined)
        app = self.app

        async def call_with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = joined
            await app(scope, receive, send)

        self.app = call_with_transport


class _Joined:
    """A transport that sends all writes of one loop step together.

    Uvicorn writes a reply's head and its body apart: two calls of the system here, and two wake-ups of the client, whose
    cost a benchmark would take for the client's own.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def abort(self) -> None:
        self._send()
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:  # everything else is the transport's own
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()
