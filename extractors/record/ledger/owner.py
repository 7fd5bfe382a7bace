"""The process that works on a run, identified well enough to see on the same machine whether it still runs."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LEASE_SECONDS = 60.0  # a run on another machine is abandoned after this time without a heartbeat
HEARTBEAT_SECONDS = 10.0
ENDED = "ended"  # the start time of a zombie: it has ended


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. `host` names machine, boot and pid namespace; `started` tells processes with the same pid apart."""

    host: str
    pid: int
    started: str

    @property
    def has_ended(self) -> bool | None:
        """Whether the process has ended; None for a process of another host."""
        if self.host != _host_id():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # the process of another user exists
            pass
        started = _start_time(self.pid)
        return started == ENDED or ("" not in {started, self.started} and started != self.started)


def current_process() -> Owner:
    """This process."""
    return Owner(_host_id(), os.getpid(), _start_time(os.getpid()))


def _host_id() -> str:
    """Host name, boot id and pid namespace: containers may share a host name but not its pids."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux only
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _start_time(pid: int) -> str:
    """The start time of a process, in clock ticks since boot; empty where the system does not report it."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()  # from the third on; the second is in brackets and may hold spaces
        return ENDED if fields[0] in {"Z", "X"} else fields[19]
    return ""
