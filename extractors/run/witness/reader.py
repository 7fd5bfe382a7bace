"""PageReader: reads pages with OCR in a few processes that have neither the settings nor the environment of the run.

A process is started when it is needed, reads one page at a time, and ends with the run, also when the run is killed. One that
fails, or takes too long for a page, is ended; the next page starts another, until too many have failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import TYPE_CHECKING

import orjson

from extractors.config.run_config import CORES
from extractors.core.evidence import Box
from extractors.validate.witness.words import PageLine, PageWord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from PIL import Image

PROCESSES = min(2, CORES)
PAGE_SECONDS = 120.0  # for one page, on a busy machine
MOST_ANSWER = 64 * 2**20  # bytes
MOST_FAILURES = 5  # processes that failed, of a run
_LENGTH_BYTES = 8
_STOP_SECONDS = 2.0
COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "extractors.endpoint.ocr.worker",
)  # -P: the folder may have its own `extractors/`
# What starts a process and its libraries; the variables of the run hold secrets.
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "PYTHONPATH"),
    *("PYTHONHOME", "VIRTUAL_ENV"),
)


class ReaderFailed(Exception):  # noqa: N818 - the state of the reader
    """A page could not be read; the message names no text of it."""


class PageReader:
    """The processes of one run, at most PROCESSES at a time."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        """Starts nothing yet; `command` starts a process that reads."""
        self._command = command
        self._slots = asyncio.Semaphore(PROCESSES)
        self._idle: list[Process] = []
        self._started: set[Process] = set()
        self._failures = 0

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a free process; a picture that is made inside is one of few in memory."""
        async with self._slots:
            yield

    async def read(self, picture: Image.Image, scale: float) -> tuple[PageLine, ...]:
        """The lines of a picture, with boxes in the pixels of its original. Raises ReaderFailed. Call it inside `slot`."""
        if self._failures >= MOST_FAILURES:
            raise ReaderFailed(f"{self._failures} processes that read pages have failed")
        process = self._idle.pop() if self._idle else await self._start()
        try:
            answer = await asyncio.wait_for(_exchange(process, picture), PAGE_SECONDS)
            lines = _parse(answer, scale)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._failures += 1
            await self._end(process)
            raise ReaderFailed(f"the process that reads pages has failed: {type(error).__name__}") from None
        except asyncio.CancelledError:  # its answer would be taken for that of the next page
            await asyncio.shield(self._end(process))
            raise
        self._idle.append(process)
        return lines

    async def close(self) -> None:
        """Ends all processes."""
        self._idle.clear()
        await asyncio.gather(*(self._end(process) for process in tuple(self._started)))

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={name: value for name in _ENVIRONMENT if (value := os.environ.get(name)) is not None},
            start_new_session=True,  # Ctrl-C must only reach the parent, which ends it
        )
        self._started.add(process)
        return process

    async def _end(self, process: Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        self._started.discard(process)


async def _exchange(process: Process, picture: Image.Image) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    header = {"width": picture.width, "height": picture.height, "mode": picture.mode}
    process.stdin.write(orjson.dumps(header) + b"\n")
    process.stdin.write(picture.tobytes())
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(_LENGTH_BYTES))
    if length > MOST_ANSWER:
        raise ValueError(f"an answer of {length:,} bytes")
    return await process.stdout.readexactly(length)


def _parse(answer: bytes, scale: float) -> tuple[PageLine, ...]:
    """The lines of an answer; `scale` is that of the picture that was read."""
    lines = (
        tuple(
            PageWord(str(text), Box(x / scale, y / scale, width / scale, height / scale), spaced=bool(spaced))
            for text, x, y, width, height, spaced in line
        )
        for line in orjson.loads(answer)
    )
    return tuple(PageLine(words) for words in lines if words)
