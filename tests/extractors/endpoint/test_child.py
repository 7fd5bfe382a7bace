"""child.py: a child process over a real socket starts, answers, and ends with its run."""

import asyncio
import os
import signal
import socket
import sys

import httpx
import pytest

from extractors.endpoint import extra
from extractors.endpoint.child import child
from extractors.endpoint.extra import EndpointError

pytestmark = pytest.mark.anyio

# A parent that starts the endpoint, prints its URL and sleeps.
PARENT = """
import asyncio
from extractors.endpoint.child import child

async def main():
    async with child("echo") as url:
        print(url, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def is_listening(url):
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def wait_until_gone(url):
    """Return whether the port closes within five seconds."""
    for _ in range(100):
        if not is_listening(url):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_child_answers_inside_its_block_and_ends_after_it():
    async with child("echo") as url, httpx.AsyncClient() as http:
        reply = await http.get(f"{url}/models")
        assert reply.json()[0]["id"] == "offline/echo"
    assert not is_listening(url)


async def test_child_ends_when_its_block_raises():
    url = ""
    with pytest.raises(ZeroDivisionError):
        async with child("echo") as url:
            assert 1 / 0
    assert not is_listening(url)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_child_ends_when_its_parent_is_killed(number):
    """The child ends when its stdin is closed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, env=environment
    )
    url = (await parent.stdout.readline()).decode().strip()
    assert is_listening(url)
    parent.send_signal(number)
    await parent.wait()
    assert await wait_until_gone(url)


async def test_child_that_fails_to_start_raises_with_its_last_line_of_stderr():
    with pytest.raises(EndpointError, match="'formular' is not a bill rule"):
        async with child("echo", "formular"):
            pass


async def test_missing_extra_raises_with_the_install_command(monkeypatch):
    """No process is started without the offline extra."""
    monkeypatch.setitem(extra._NEEDS, "ocr", ("uvicorn", "a_package_that_nobody_has"))
    with pytest.raises(EndpointError, match=r'a_package_that_nobody_has: pip install "tilewise\[offline\]"'):
        async with child("ocr"):
            pass


async def test_importing_child_loads_neither_ocr_nor_server():
    """Models and server are loaded in the child process only."""
    heavy = "{'rapidocr', 'onnxruntime', 'cv2', 'fastapi', 'uvicorn', 'PIL'}"
    check = f"import sys, extractors.endpoint.child; print({heavy} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", check, stdout=asyncio.subprocess.PIPE, env=environment
    )
    stdout, _ = await process.communicate()
    assert stdout.decode().strip() == "set()"


async def test_child_does_not_import_extractors_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "extractors").mkdir()
    (tmp_path / "extractors" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.chdir(tmp_path)
    async with child("echo") as url:
        assert is_listening(url)
