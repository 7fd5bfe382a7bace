"""The moments at which a run may be killed: each is a line in the trace, and SIGKILL is sent at the chosen one.

They are observed through Python's audit events and SQLAlchemy's events: the product has no hook for this. A moment is named
by what is about to happen (`rename results`, `commit insert calls`) or has just happened (`committed …`); the chosen one is
given by a name, or `any`, and its number.
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
        """`trace` is a path; `fatal` is the name and the number of the moment to kill at, or None."""
        self._root, self._fatal = root, tuple(fatal) if fatal else None
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._counts, self._lock, self._statements = Counter(), threading.Lock(), {}
        self._commit = threading.local()  # a commit begins and ends in one thread

    def listen(self):
        """Starts to listen to audit events and SQLAlchemy events."""
        sys.addaudithook(self._audit)
        sa.event.listen(sa.Engine, "before_cursor_execute", self._count_statement)
        sa.event.listen(sa.Engine, "commit", self._before_commit)
        sa.event.listen(sa.Engine, "rollback", lambda connection: self._statements.pop(id(connection), None))

    def record(self, name):
        """Records one moment, and kills the process if it is the chosen one."""
        with self._lock:
            self._counts.update((name, ANY))
            os.write(self._trace, f"{name}\n".encode())
            if self._fatal in {(name, self._counts[name]), (ANY, self._counts[ANY])}:
                os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event, args):
        match event:
            case "os.rename":
                self._record_path("rename", args[1], args[3])
            case "os.remove" | "os.rmdir":
                self._record_path(event.removeprefix("os."), args[0], args[1])
            case "os.mkdir":
                self._record_path("mkdir", args[0], args[2])
            case "open" if isinstance(args[0], str | bytes | os.PathLike) and (args[2] or 0) & WRITES:
                self._record_path("open", args[0], -1)

    def _record_path(self, operation, path, folder):
        path = Path(os.fsdecode(path))
        if not path.is_absolute():
            path = (Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()) / path
        if path.is_relative_to(self._root):
            self.record(f"{operation} {_place(path.relative_to(self._root).parts)}")

    def _count_statement(self, connection, cursor, statement, *_):
        if match := STATEMENT.match(statement):
            verb, table = (word.lower() for word in match.groups())
            if (verb, table) != ("insert", "days"):  # beside the update for the first call of a day only
                self._statements.setdefault(id(connection), set()).add(f"{verb} {table}")

    def _before_commit(self, connection):
        _after_commits(connection.dialect, lambda: self.record(f"committed {self._commit.statements}"))
        self._commit.statements = ", ".join(sorted(self._statements.pop(id(connection), {"nothing"})))
        self.record(f"commit {self._commit.statements}")


def _after_commits(dialect, notify):
    """Calls `notify` after each commit of the driver, as SQLAlchemy's own event comes before the commit."""
    if "do_commit" in vars(dialect):
        return
    commit = dialect.do_commit

    def do_commit(connection):
        commit(connection)
        notify()

    dialect.do_commit = do_commit


def _place(parts):
    """The table's folder or the kind of staged file, without run ids, dates and numbers: equal in every run."""
    if not parts:
        return "output"
    if parts[0] != "staging" or len(parts) < 3:
        return parts[0] if len(parts) < 2 or parts[0] != "staging" else "staging/run"
    return "staging/" + re.sub(r"[\d.-]+(parquet)?", "", parts[-1])
