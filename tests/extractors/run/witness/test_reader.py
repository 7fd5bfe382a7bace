"""PageReader: pages are read in processes that know nothing of the run; one that fails is replaced."""

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

# Stands for the OCR process at its pipes: answers its variables, or the size of the picture; fails or hangs when it is told to.
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


def picture(shade=0, mode="L"):
    return Image.new(mode, (6, 4), shade if mode == "L" else (shade,) * 3)


@pytest.fixture
async def reader():
    """A reader whose processes are stubs."""
    made = PageReader((sys.executable, "-c", STUB))
    yield made
    await made.close()


def is_running(pid):
    """Whether this process lives; one that ended and was not waited for does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_of(lines):
    return int(lines[0].words[0].text.split()[-1])


async def test_words_have_their_boxes_in_the_original(reader):
    """A picture that was read at half size; an empty line is left out."""
    lines = await reader.read(picture(mode="RGB"), 0.5)
    assert [len(line.words) for line in lines] == [1]
    assert lines[0].words[0].text.startswith("6 RGB ")
    assert lines[0].words[0].box == Box(20, 40, 60, 80)


async def test_process_reads_several_pages_and_ends_with_the_reader(reader):
    first, second = [pid_of(await reader.read(picture(), 1)) for _ in range(2)]
    assert first == second
    await reader.close()
    assert not is_running(first)


async def test_process_has_no_secret_of_the_environment(reader, monkeypatch):
    """Only what starts a process and its libraries."""
    monkeypatch.setenv("TOGETHER_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    names = {word.text for word in (await reader.read(picture(1), 1))[0].words}
    assert "PATH" in names
    assert names.isdisjoint({"TOGETHER_API_KEY", "AWS_SECRET_ACCESS_KEY"})


async def test_process_that_fails_is_replaced_for_the_next_page(reader):
    first = pid_of(await reader.read(picture(), 1))
    with pytest.raises(ReaderFailed):
        await reader.read(picture(13), 1)
    assert pid_of(await reader.read(picture(), 1)) != first


async def test_reader_gives_up_after_too_many_failures(reader):
    """Then it starts no further process."""
    for _ in range(MOST_FAILURES):
        with pytest.raises(ReaderFailed):
            await reader.read(picture(13), 1)
    with pytest.raises(ReaderFailed, match=str(MOST_FAILURES)):
        await reader.read(picture(), 1)


async def test_cancelled_page_ends_its_process(reader):
    """Its answer would be taken for that of the next page."""
    first = pid_of(await reader.read(picture(), 1))
    reading = asyncio.ensure_future(reader.read(picture(99), 1))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not is_running(first)


@pytest.mark.slow
def test_worker_ends_when_its_parent_is_gone():
    """Its stdin ends, also when the parent was killed; what it answers before is what it has read."""
    picture = b'{"width": 80, "height": 60, "mode": "L"}\n' + bytes([255]) * 80 * 60
    ended = subprocess.run(COMMAND, input=picture, capture_output=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, (2).to_bytes(8) + b"[]")


async def test_processes_are_a_few_at_a_time(reader):
    """Further pages wait, before their pictures are made."""
    async with reader.slot(), AsyncExitStack() as stack:
        for _ in range(PROCESSES - 1):
            await stack.enter_async_context(reader.slot())
        assert reader._slots.locked()
