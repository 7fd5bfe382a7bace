"""The environment of the test process stays where native threads read it."""

import ctypes
import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the array is glibc's")
LIBC = ctypes.CDLL(None)
LIBC.getenv.restype = ctypes.c_char_p


def read_environ_address():
    """The address of this process's environment."""
    return ctypes.c_void_p.in_dll(LIBC, "environ").value


def test_environment_does_not_move_when_it_grows(monkeypatch):
    """A native thread then never reads freed memory."""
    before = read_environ_address()
    for number in range(500):
        monkeypatch.setenv(f"GROWN_{number}", "x")
    assert read_environ_address() == before


def test_native_code_reads_a_replaced_variable(monkeypatch):
    monkeypatch.setenv("READ", "first")
    monkeypatch.setenv("READ", "second")
    assert LIBC.getenv(b"READ") == b"second"


def test_native_code_does_not_read_a_removed_variable(monkeypatch):
    """The other variables stay."""
    monkeypatch.setenv("REMOVED", "x")
    monkeypatch.setenv("KEPT", "y")
    monkeypatch.delenv("REMOVED")
    assert (LIBC.getenv(b"REMOVED"), LIBC.getenv(b"KEPT")) == (None, b"y")


def test_child_process_inherits_the_environment(monkeypatch):
    """A process started without `env` has exactly the variables of `os.environ`."""
    monkeypatch.setenv("INHERITED", "x")
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    child = json.loads(printed)
    assert {name: child.get(name) for name in os.environ} == dict(os.environ)


def test_environment_is_attached_again_after_native_code_copied_it(monkeypatch):
    """After a library has called setenv, its variable and later ones are visible."""
    LIBC.setenv(b"NATIVE", b"1", 1)
    try:
        monkeypatch.setenv("LATER", "x")
        assert (LIBC.getenv(b"NATIVE"), LIBC.getenv(b"LATER")) == (b"1", b"x")
    finally:
        os.unsetenv("NATIVE")
