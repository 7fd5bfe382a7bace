"""Runs the command many times in forks of one process that has imported its modules, and kills the forks on request.

It reads one order a line from stdin: `args`, `cwd`, `env`, `root` (of the output), `log_folder` (for stdout, stderr and the
trace), `kill` (a kill point and its number, or null) and `part` (the number of the staged file at whose appearance the fork
is killed, or null). It prints one line for each: `status` as subprocess gives it, and `parts`, the number of staged files.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from kill_points import KillPoints

PRELOADED = (  # all heavy modules but polars, which starts threads when imported: a fork would lose them
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
LONGEST = 90  # seconds for one run


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
    """Runs the command in the fork."""
    log_folder = Path(order["log_folder"])
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(log_folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    KillPoints(Path(order["root"]), log_folder / "trace", order["kill"]).listen()
    status = 1
    try:
        importlib.import_module("flows.cli").app(order["args"], prog_name="tilewise")
    except SystemExit as result:
        status = result.code
    except BaseException:  # noqa: BLE001  as the interpreter does it
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def watch(pid, order):
    """Waits for the fork; kills it once this many staged files have appeared, however much of the last is written."""
    staging, parts, end = Path(order["root"], "staging"), set(), time.monotonic() + LONGEST
    while True:
        finished, status = os.waitpid(pid, os.WNOHANG)
        if finished:
            return {"status": os.waitstatus_to_exitcode(status), "parts": len(parts)}
        parts.update(list_staged(staging))
        if time.monotonic() > end or (order["part"] and len(parts) >= order["part"]):
            os.kill(pid, signal.SIGKILL)
        if not order["part"]:
            time.sleep(0.002)


def list_staged(folder):
    """The files that all runs have staged now."""
    try:
        volumes = [volume.path for run in os.scandir(folder) for volume in os.scandir(run.path)]
        return [os.path.join(volume, name) for volume in volumes for name in os.listdir(volume)]  # noqa: PTH118, PTH208  quick
    except OSError:
        return []


if __name__ == "__main__":
    main()
