"""Responses that never complete: a connection that breaks, stalls, or drips. Each is an ASGI app, like a response.

To break a connection takes its transport, which `serve` puts among the scope's extensions. Where it is missing (an app
called in process), ConnectionResetError is raised instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.endpoint.faults.responses import EVENTS, JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from extractors.endpoint.faults.rehearsal import Rehearsal
    from extractors.endpoint.faults.spec import Draw

TRANSPORT = "tilewise.transport"
_RESET = struct.pack("ii", 1, 0)  # linger for no time: the close is a reset


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks before or within the response, by a reset or an early end."""

    draw: Draw
    parts: list[bytes]
    stream: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing, or half of the response."""
        where = self.draw.pick("before", "before, politely", "middle", "middle, politely")
        if where.startswith("middle"):
            whole = b"".join(self.parts)
            await send(_build_start(stream=self.stream, length=None if self.stream else len(whole)))
            await send(_build_body(whole[: len(whole) // 2]))
        await _break_connection(scope, receive, politely=where.endswith("politely"))


@dataclass(frozen=True, slots=True)
class Stall:
    """Headers, then nothing, until the client disconnects or the time is over."""

    rehearsal: Rehearsal
    stream: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers of an answer without the answer."""
        await send(_build_start(stream=self.stream))
        await _wait_for_end(self.rehearsal, receive, self.rehearsal.options.stall_seconds)
        await _break_connection(scope, receive)


@dataclass(frozen=True, slots=True)
class Drip:
    """Bytes without meaning at intervals, until the client disconnects."""

    rehearsal: Rehearsal
    stream: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send spaces before a JSON body that never begins, or comments in a stream without events."""
        await send(_build_start(stream=self.stream))
        letters: Iterator[int] = itertools.cycle(b": wait\n\n" if self.stream else b" ")
        for letter in letters:
            await send(_build_body(bytes([letter])))
            if await _wait_for_end(self.rehearsal, receive, self.rehearsal.options.drip_seconds):
                break
        await _break_connection(scope, receive)


async def _wait_for_end(rehearsal: Rehearsal, receive: Receive, seconds: float) -> bool:
    """Whether the client disconnects or the server closes within these seconds."""
    ends = {asyncio.create_task(_wait_for_disconnect(receive)), asyncio.create_task(_wait_for_closing(rehearsal))}
    try:
        done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
    return bool(done)


async def _wait_for_closing(rehearsal: Rehearsal) -> None:
    await rehearsal.closing.wait()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _break_connection(scope: Scope, receive: Receive, *, politely: bool = False) -> None:
    transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("broken on purpose")
    if politely:
        transport.close()
    else:
        with contextlib.suppress(OSError):  # it may be closed by now
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    await _wait_for_disconnect(receive)  # so that the server knows, and does not call it a mistake


def _build_start(*, stream: bool, length: int | None = None) -> dict[str, object]:
    headers = [(b"content-type", (EVENTS if stream else JSON).encode())]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _build_body(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}
