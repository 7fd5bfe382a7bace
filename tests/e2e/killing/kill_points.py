"""The moments at which a run may be killed: a line of the trace for each, and SIGKILL at the one that is chosen.

They are seen from outside, through Python's audit events and SQLAlchemy's own: the product has no hook for this. A moment
is named by what is about to happen (`rename results`, `commit insert calls`) or has just happened (`committed …`), and by
how many of that name, or of `any`, there were.
"""

import os
import re
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

ANY = "any"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
STATEMENT = re.compile(r'\s*(insert|update|delete|create|alter|drop)\s+(?:into\s+|from\s+)?"?(\w+)', re.IGNORECASE)


class KillPoints:
    """Counts what happens under the output root and in the ledger, and ends the process at the chosen moment."""

    def __init__(self, root, trace, fatal):
        """`trace` is a path; `fatal` is a name and how many of that name it takes, or None."""
        self._root, self._fatal = root, tuple(fatal) if fatal else None
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._seen, self._lock, self._statements = Counter(), threading.Lock(), {}
        self._what = threading.local()  # a commit begins and ends in one thread

    def listen(self):
        """Hears everything from now on."""
        sys.addaudithook(self._audit)
        sa.event.listen(sa.Engine, "before_cursor_execute", self._count_statement)
        sa.event.listen(sa.Engine, "commit", self._committing)
        sa.event.listen(sa.Engine, "rollback", lambda connection: self._statements.pop(id(connection), None))

    def happen(self, name):
        """One moment."""
        with self._lock:
            self._seen.update((name, ANY))
            os.write(self._trace, f"{name}\n".encode())
            if self._fatal in {(name, self._seen[name]), (ANY, self._seen[ANY])}:
                os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event, args):
        match event:
            case "os.rename":
                self._touch("rename", args[1], args[3])
            case "os.remove" | "os.rmdir":
                self._touch(event.removeprefix("os."), args[0], args[1])
            case "os.mkdir":
                self._touch("mkdir", args[0], args[2])
            case "open" if isinstance(args[0], str | bytes | os.PathLike) and (args[2] or 0) & WRITES:
                self._touch("open", args[0], -1)

    def _touch(self, what, path, folder):
        path = Path(os.fsdecode(path))
        if not path.is_absolute():
            path = (Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()) / path
        if path.is_relative_to(self._root):
            self.happen(f"{what} {_place(path.relative_to(self._root).parts)}")

    def _count_statement(self, connection, cursor, statement, *_):
        if found := STATEMENT.match(statement):
            verb, table = (each.lower() for each in found.groups())
            self._statements.setdefault(id(connection), set()).add(f"{verb} {table}")

    def _committing(self, connection):
        _after_commits(connection.dialect, lambda: self.happen(f"committed {self._what.said}"))
        self._what.said = ", ".join(sorted(self._statements.pop(id(connection), {"nothing"})))
        self.happen(f"commit {self._what.said}")


def _after_commits(dialect, tell):
    """SQLAlchemy tells of a commit before it is done; that it is done is seen where it is done, at the driver."""
    if "do_commit" in vars(dialect):
        return
    commit = dialect.do_commit

    def do_commit(connection):
        commit(connection)
        tell()

    dialect.do_commit = do_commit


def _place(parts):
    """The table's folder, or what is staged, without runs, dates and numbers: the same in every run."""
    if not parts:
        return "output"
    if parts[0] != "staging" or len(parts) < 3:
        return parts[0] if len(parts) < 2 or parts[0] != "staging" else "staging/run"
    return "staging/" + re.sub(r"[\d.-]+(parquet)?", "", parts[-1])
