"""Whose process a run is: enough to tell on the same machine whether that process is still there."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LEASE_SECONDS = 60.0  # without a heartbeat a run on another machine counts as abandoned
HEARTBEAT_SECONDS = 10.0
ENDED = "ended"  # when a zombie was born matters no more: nobody has asked how it ended, and it has


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: `host` names a machine (since its start) and its namespace of pids, `born` tells a pid's uses apart."""

    host: str
    pid: int
    started: str

    @property
    def has_ended(self) -> bool | None:
        """Whether the process has ended; None where that cannot be seen from here."""
        if self.host != _host_id():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's: it is there
            pass
        born = _start_time(self.pid)
        return born == ENDED or ("" not in {born, self.started} and born != self.started)


def current_process() -> Owner:
    """The process that this is."""
    return Owner(_host_id(), os.getpid(), _start_time(os.getpid()))


def _host_id() -> str:
    """Containers may share a machine's name and not its pids, and a pid of before a restart says nothing."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux alone tells
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _start_time(pid: int) -> str:
    """When the process began, in ticks since the machine did; empty where the system does not tell."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()  # from the third on; the second may hold spaces, in brackets
        return ENDED if fields[0] in {"Z", "X"} else fields[19]
    return ""
