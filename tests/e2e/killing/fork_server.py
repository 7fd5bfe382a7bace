"""Runs the command many times in forks of one process that has imported everything, and has them killed as asked.

On stdin one order a line: `args`, `cwd`, `env`, `root` (of the output), `said` (a folder for what the command says and for
its trace), `kill` (a moment and how many of that name it takes, or null) and `part` (the number of the staged file at
whose appearance it is killed, or null). On stdout one line for each: its `status` as subprocess gives it, and `parts`, the
number of staged files that were seen.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from kill_points import KillPoints

PRELOADED = (  # all that is heavy but polars, which starts threads where it is imported: a fork would lose them
    "flows.cli",
    "extractors.config.run_config",
    "extractors.call.client",
    "extractors.call.transport",
    "extractors.plan.estimate",
    "extractors.prepare",
    "extractors.record.ledger",
    "extractors.report.summary",
    "extractors.validate",
    "rich.progress",
    "schemas.caption",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)
LONGEST = 90  # seconds that a run may take


def main():
    """Serves until stdin ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads is not to be forked"  # noqa: PTH208
    print("ready", flush=True)  # noqa: T201  stdout is the interface
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(order)
        print(json.dumps(watch(pid, order)), flush=True)  # noqa: T201


def run(order):
    """The command, in the fork."""
    said = Path(order["said"])
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    KillPoints(Path(order["root"]), said / "trace", order["kill"]).listen()
    status = 1
    try:
        importlib.import_module("flows.cli").app(order["args"], prog_name="tilewise")
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001  as the interpreter does it
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def watch(pid, order):
    """Waits for the fork; kills it as soon as so many staged files have appeared, however far the last is written."""
    staging, seen, end = Path(order["root"], "staging"), set(), time.monotonic() + LONGEST
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return {"status": os.waitstatus_to_exitcode(status), "parts": len(seen)}
        seen.update(files(staging))
        if time.monotonic() > end or (order["part"] and len(seen) >= order["part"]):
            os.kill(pid, signal.SIGKILL)
        if not order["part"]:
            time.sleep(0.002)


def files(folder):
    """The files of all runs that are staged now."""
    try:
        volumes = [volume.path for run in os.scandir(folder) for volume in os.scandir(run.path)]
        return [os.path.join(volume, each) for volume in volumes for each in os.listdir(volume)]  # noqa: PTH118, PTH208  quick
    except OSError:
        return []


if __name__ == "__main__":
    main()
