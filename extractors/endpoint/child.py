"""The endpoint as a child process for one run; it ends with the run, also when the run is killed."""

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

_START_SECONDS = 60.0  # seconds until it listens, on a busy machine
_STOP_SECONDS = 5.0  # seconds for each signal


@contextlib.asynccontextmanager
async def child(reader: str = "ocr", bill: str = "formula", *, latency: float = 0.0) -> AsyncIterator[str]:
    """Start the endpoint, yield its base URL (`http://127.0.0.1:43211/v1`), and stop it afterwards."""
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
        start_new_session=True,  # Ctrl-C must only reach the parent, which still waits for replies
    )
    stderr = bytearray()
    listening = asyncio.create_task(_drain(process, stderr))
    try:
        yield await _read_url(process, stderr, listening)
    finally:
        await asyncio.shield(_stop_process(process, listening))


async def _read_url(process: Process, stderr: bytearray, draining: asyncio.Task[None]) -> str:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
    except TimeoutError:
        raise EndpointError(
            f"the offline endpoint did not start within {_START_SECONDS:.0f} s{_last_line(stderr)}"
        ) from None
    if not line:
        await draining
        raise EndpointError(f"the offline endpoint stopped while it started{_last_line(stderr)}")
    return str(orjson.loads(line)["url"])


async def _drain(process: Process, stderr: bytearray) -> None:
    """Read stderr so that the pipe does not fill up; keep its end."""
    assert process.stderr is not None
    while chunk := await process.stderr.read(4096):
        stderr += chunk
        del stderr[:-4096]


def _last_line(stderr: bytearray) -> str:
    lines = stderr.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""


async def _stop_process(process: Process, draining: asyncio.Task[None]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    for insist in (process.terminate, process.kill):
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            break
        with contextlib.suppress(ProcessLookupError):
            insist()
    await process.wait()
    await draining
