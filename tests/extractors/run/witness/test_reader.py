"""reader.py: pages are read with OCR in separate processes, which are replaced when they fail."""

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest
from PIL import Image

from extractors.core.evidence import Box
from extractors.run.witness.reader import COMMAND, MOST_FAILURES, PROCESSES, PageReader, ReaderFailed

pytestmark = pytest.mark.anyio

# Replaces the OCR process: answers with the size of the picture or with its variables; the first pixel makes it fail or hang.
STUB = """
import json, os, sys, time
while header := sys.stdin.buffer.readline():
    picture = json.loads(header)
    pixels = sys.stdin.buffer.read(picture["width"] * picture["height"] * len(picture["mode"]))
    if pixels[0] == 13:
        sys.exit(3)
    if pixels[0] == 99:
        time.sleep(60)
    words = [[name, 10, 20, 30, 40, True] for name in sorted(os.environ)] if pixels[0] == 1 else []
    answer = json.dumps([[[f"{picture['width']} {picture['mode']} {os.getpid()}", 10, 20, 30, 40, True], *words], []]).encode()
    sys.stdout.buffer.write(len(answer).to_bytes(8, "big") + answer)
    sys.stdout.buffer.flush()
"""


def make_picture(shade=0, mode="L"):
    return Image.new(mode, (6, 4), shade if mode == "L" else (shade,) * 3)


@pytest.fixture
async def reader():
    """A reader whose processes are stubs."""
    page_reader = PageReader((sys.executable, "-c", STUB))
    yield page_reader
    await page_reader.close()


def is_running(pid):
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def find_pid(lines):
    return int(lines[0].words[0].text.split()[-1])


async def test_words_have_their_boxes_in_the_original_picture(reader):
    """The picture was read at half size, and an empty line is left out."""
    lines = await reader.read(make_picture(mode="RGB"), 0.5)
    assert [len(line.words) for line in lines] == [1]
    assert lines[0].words[0].text.startswith("6 RGB ")
    assert lines[0].words[0].box == Box(20, 40, 60, 80)


async def test_process_reads_several_pages_and_ends_with_the_reader(reader):
    first, second = [find_pid(await reader.read(make_picture(), 1)) for _ in range(2)]
    assert first == second
    await reader.close()
    assert not is_running(first)


async def test_process_has_no_secret_of_the_environment(reader, monkeypatch):
    """It has only the variables that a process and its libraries need to start."""
    monkeypatch.setenv("TOGETHER_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    names = {word.text for word in (await reader.read(make_picture(1), 1))[0].words}
    assert "PATH" in names
    assert names.isdisjoint({"TOGETHER_API_KEY", "AWS_SECRET_ACCESS_KEY"})


async def test_process_that_fails_is_replaced_for_the_next_page(reader):
    first = find_pid(await reader.read(make_picture(), 1))
    with pytest.raises(ReaderFailed):
        await reader.read(make_picture(13), 1)
    assert find_pid(await reader.read(make_picture(), 1)) != first


async def test_reader_starts_no_process_after_too_many_failures(reader):
    for _ in range(MOST_FAILURES):
        with pytest.raises(ReaderFailed):
            await reader.read(make_picture(13), 1)
    with pytest.raises(ReaderFailed, match=str(MOST_FAILURES)):
        await reader.read(make_picture(), 1)


async def test_cancelled_page_ends_its_process(reader):
    """The next page would otherwise get its answer."""
    first = find_pid(await reader.read(make_picture(), 1))
    reading = asyncio.ensure_future(reader.read(make_picture(99), 1))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not is_running(first)


@pytest.mark.slow
def test_worker_ends_at_the_end_of_its_stdin():
    """It answers what it has read before; the stdin of a worker also ends when its parent was killed."""
    request = b'{"width": 80, "height": 60, "mode": "L"}\n' + bytes([255]) * 80 * 60
    completed = subprocess.run(COMMAND, input=request, capture_output=True, timeout=120, check=False)
    assert (completed.returncode, completed.stdout) == (0, (2).to_bytes(8) + b"[]")


async def test_reader_has_a_slot_for_each_process(reader):
    """Further pages wait before their pictures are made."""
    async with reader.slot(), AsyncExitStack() as stack:
        for _ in range(PROCESSES - 1):
            await stack.enter_async_context(reader.slot())
        assert reader._slots.locked()
