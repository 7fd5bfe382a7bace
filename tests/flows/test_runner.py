"""The event loop of a run without Prefect."""

import asyncio
import sys

import pytest

from flows.runner import run_loop


async def _name_loop():
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_a_run_has_the_loop_of_uvloop():
    """A direct run is in uvloop's loop, and returns what its coroutine returns."""
    assert run_loop(_name_loop()).split(".")[0] == "uvloop"


def test_without_uvloop_a_run_has_asyncio_s_loop(monkeypatch):
    """Where uvloop is not installed, asyncio's own loop runs it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run_loop(_name_loop()).split(".")[0] == "asyncio"
