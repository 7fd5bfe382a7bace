"""The event loop of a run without Prefect."""

import asyncio
import sys

import pytest

from flows.runner import run_loop


async def _name_loop():
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_run_loop_uses_uvloop():
    """It returns the value of its coroutine."""
    assert run_loop(_name_loop()).split(".")[0] == "uvloop"


def test_run_loop_uses_asyncio_without_uvloop(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run_loop(_name_loop()).split(".")[0] == "asyncio"
