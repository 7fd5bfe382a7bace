"""The endpoint as a child process for one run. It goes when the run goes, however the run goes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from typing import TYPE_CHECKING

import orjson

from extractors.endpoint.extra import EndpointError, check_extra

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_START = 60.0  # seconds until it listens, on a machine that is busy and cold
_STOP = 5.0  # seconds for each way of asking it to go


@contextlib.asynccontextmanager
async def child(reader: str = "ocr", bill: str = "formula", *, latency: float = 0.0) -> AsyncIterator[str]:
    """Start the endpoint, give its base URL (`http://127.0.0.1:43211/v1`), and end it afterwards."""
    check_extra(reader)
    arguments = ("--port", "0", "--parent-pipe", "--reader", reader, "--bill", bill, "--latency", str(latency))
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-P",
            "-m",
            "extractors.endpoint",
            *arguments,
        ),  # -P: the folder may have `extractors/` of its own
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C is for the parent, which still has replies to wait for
    )
    said = bytearray()
    listening = asyncio.create_task(_drain(process, said))
    try:
        yield await _announced(process, said, listening)
    finally:
        await asyncio.shield(_end(process, listening))


async def _announced(process: Process, said: bytearray, draining: asyncio.Task[None]) -> str:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START)
    except TimeoutError:
        raise EndpointError(f"the offline endpoint did not start within {_START:.0f} s{_last(said)}") from None
    if not line:
        await draining
        raise EndpointError(f"the offline endpoint stopped while it started{_last(said)}")
    return str(orjson.loads(line)["url"])


async def _drain(process: Process, said: bytearray) -> None:
    """Keep its last words, and its pipe from filling up."""
    assert process.stderr is not None
    while chunk := await process.stderr.read(4096):
        said += chunk
        del said[:-4096]


def _last(said: bytearray) -> str:
    lines = said.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""


async def _end(process: Process, draining: asyncio.Task[None]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    for insist in (process.terminate, process.kill):
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            await asyncio.wait_for(process.wait(), _STOP)
            break
        with contextlib.suppress(ProcessLookupError):
            insist()
    await process.wait()
    await draining
