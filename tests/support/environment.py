"""The environment of this process in a C array that never moves, so that native threads can read it at any time.

glibc's `setenv` moves the array `environ` when it grows, and a thread inside `getenv` then reads freed memory. polars has
such a thread: from its first read of an object store on, it calls `getenv("POLARS_LOG_CONCURRENCY")` ten times a second in
a thread of tokio, as long as it caches the store. The tests change the environment thousands of times meanwhile
(CliRunner, typer for each parameter, pytest, monkeypatch), and in some runs one worker died with a segmentation fault, with
no Python thread marked as current. A core dump showed `getenv` in the thread of polars.
"""

import ctypes
import itertools
import os
import sys

SLOTS = 8192  # tests have about a hundred variables


class StableEnvironment:
    """Adds, replaces and removes a variable with one pointer store each; a reader may miss one, and never fails."""

    def __init__(self):
        """Takes over the variables of this process."""
        self._slots = (ctypes.c_void_p * SLOTS)()  # the last one stays null, as the end
        self._names = []
        self._entries = {}  # never freed, as a thread may be reading one
        self.attach()

    @property
    def address(self):
        """The address of the array."""
        return ctypes.addressof(self._slots)

    def attach(self):
        """Installs this array again after native code called `setenv`, which made a copy of its own."""
        environ = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ")
        if environ.value == self.address:
            return
        added = [each.partition(b"=") for each in _read_entries(environ.value)]
        environ.value = self.address
        for name, _, value in added:
            if name not in self._names:
                self.put(name, value)

    def put(self, name, value):
        """Sets a variable, as `os.putenv` does."""
        self.attach()
        name, entry = os.fsencode(name), os.fsencode(name) + b"=" + os.fsencode(value)
        buffer = self._entries.setdefault(entry, ctypes.create_string_buffer(entry))
        place = self._names.index(name) if name in self._names else len(self._names)
        if place == len(self._names):
            assert place < SLOTS - 1, "the environment is full"
            self._names.append(name)
        self._slots[place] = ctypes.addressof(buffer)

    def remove(self, name):
        """Removes a variable, as `os.unsetenv` does: the last entry takes its place."""
        self.attach()
        name = os.fsencode(name)
        if name not in self._names:
            return
        place, last = self._names.index(name), len(self._names) - 1
        self._slots[place] = self._slots[last]
        self._slots[last] = None
        self._names[place] = self._names[last]
        del self._names[last]


def _read_entries(address):
    """The entries of an array like `environ`, without those that are no assignments."""
    slots = ctypes.cast(address, ctypes.POINTER(ctypes.c_char_p)) if address else [None]
    entries = list(itertools.takewhile(lambda entry: entry is not None, (slots[place] for place in itertools.count())))
    return [entry for entry in entries if b"=" in entry]


def stabilize():
    """Keeps the environment of this process in such an array from now on; returns it, or None on other systems."""
    if sys.platform != "linux":
        return None
    stable = StableEnvironment()
    os.putenv, os.unsetenv = stable.put, stable.remove
    return stable
