"""The child process, over a real socket: it starts, answers, and is gone when its run is."""

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

# A parent that starts the endpoint, says where it is and then does nothing more.
PARENT = """
import asyncio
from extractors.endpoint.child import child

async def main():
    async with child("echo") as url:
        print(url, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def listens(url):
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def is_gone(url):
    """Whether nothing listens there within five seconds."""
    for _ in range(100):
        if not listens(url):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_child_answers_and_is_gone_afterwards():
    """Its models can be asked for inside the block; after it, nothing listens."""
    async with child("echo") as url, httpx.AsyncClient() as http:
        reply = await http.get(f"{url}/models")
        assert reply.json()[0]["id"] == "offline/echo"
    assert not listens(url)


async def test_child_is_gone_when_its_block_raises():
    """An error inside the block ends the child as well."""
    url = ""
    with pytest.raises(ZeroDivisionError):
        async with child("echo") as url:
            assert 1 / 0
    assert not listens(url)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_orphan_is_left_when_the_parent_is_killed(number):
    """The child notices that the other end of its stdin is gone."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, env=environment
    )
    url = (await parent.stdout.readline()).decode().strip()
    assert listens(url)
    parent.send_signal(number)
    await parent.wait()
    assert await is_gone(url)


async def test_a_child_that_dies_at_its_start_says_why():
    """The error carries the last line of its stderr."""
    with pytest.raises(EndpointError, match="'formular' is not a bill rule"):
        async with child("echo", "formular"):
            pass


async def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    """Nothing is started without the offline extra."""
    monkeypatch.setitem(extra._NEEDS, "ocr", ("uvicorn", "a_package_that_nobody_has"))
    with pytest.raises(EndpointError, match=r'a_package_that_nobody_has: pip install "tilewise\[offline\]"'):
        async with child("ocr"):
            pass


async def test_importing_the_launcher_loads_no_ocr():
    """The parent stays light: models and server live in the child."""
    heavy = "{'rapidocr', 'onnxruntime', 'cv2', 'fastapi', 'uvicorn', 'PIL'}"
    check = f"import sys, extractors.endpoint.child; print({heavy} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", check, stdout=asyncio.subprocess.PIPE, env=environment
    )
    said, _ = await process.communicate()
    assert said.decode().strip() == "set()"


async def test_a_folder_of_tilewises_name_does_not_replace_it(tmp_path, monkeypatch):
    """The working directory may have an `extractors/` of its own, which the child does not import."""
    (tmp_path / "extractors").mkdir()
    (tmp_path / "extractors" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.chdir(tmp_path)
    async with child("echo") as url:
        assert listens(url)
