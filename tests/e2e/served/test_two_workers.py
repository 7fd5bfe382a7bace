"""A run in shards on a real Prefect server, both it and the ledger on PostgreSQL: two workers, of which one is killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from extractors.record.ledger.schema import SHARDS

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
FILE = Path(__file__).parents[3] / "prefect.yaml"
PATIENCE = 240  # seconds
IMAGES, SIZE, SECONDS = 24, 6, 1.0


@pytest.fixture(autouse=True)
def images_on_postgres(workspace, server, replies, postgres):
    """Pictures that take a while each; the ledger is on PostgreSQL, and calls leave one after the other."""

    def script(asked):
        time.sleep(SECONDS)
        return replies.ok()

    server.answers_with(script)
    shutil.copy(FILE, workspace.folder)
    workspace.images(*(f"{number:02}.png" for number in range(IMAGES)))
    workspace.env |= {
        "TILEWISE_BASE_URL": server.url,
        "TILEWISE_LEDGER": postgres(),
        "TILEWISE_CONCURRENCY": "1",
        "TILEWISE_CHUNK": "2",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres().replace("+psycopg", "+asyncpg"),
    }


@pytest.fixture
def prefect(workspace, free, answering):
    """Runs Prefect's own command, each in a session of its own, at a server that is started first."""
    port = free()
    with contextlib.ExitStack() as stack:

        def run(*args):
            command = [sys.executable, "-m", "prefect", *map(str, args)]
            silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            process = subprocess.Popen(
                command, cwd=workspace.folder, env=workspace.environment(), start_new_session=True, **silent
            )
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.terminate)
            return process

        run("server", "start", "--port", port)
        run.api = answering(f"http://127.0.0.1:{port}")
        workspace.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        assert run("work-pool", "create", "tilewise", "--type", "process").wait(PATIENCE) == 0
        assert run("deploy", "--name", "shard").wait(PATIENCE) == 0
        yield run


@pytest.fixture
def at_work(workspace):
    """The processes that work on shards now, by the ledger."""
    engine = sa.create_engine(workspace.env["TILEWISE_LEDGER"])

    def pids():
        try:
            with engine.connect() as connection:
                return set(connection.execute(sa.select(SHARDS.c.pid).where(SHARDS.c.status.is_(None))).scalars())
        except sa.exc.ProgrammingError:  # the run that makes the tables has not come so far
            return set()

    yield pids
    engine.dispose()


def until(holds):
    """Waits until something holds, and gives it."""
    end = time.monotonic() + PATIENCE
    while not (held := holds()):
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.1)
    return held


def test_a_worker_that_is_killed_with_its_children_costs_what_was_on_its_way(
    workspace, server, prefect, at_work, descendants
):
    """The other worker does the rest: complete results, in one volume, and nothing else was paid for twice."""
    workers = [prefect("worker", "start", "--pool", "tilewise", "--limit", 2) for _ in range(2)]
    flags = ("--schema", "caption", "--bill", "formula", "--shard-size", SIZE, "--yes", "--json")
    with workspace.start("run", "in", *flags, stdout=subprocess.PIPE) as run:
        try:
            until(lambda: all(at_work() & set(descendants(worker.pid)) for worker in workers))
            seen = len(server.asked)
            until(lambda: len(server.asked) >= seen + 6)
            for pid in [workers[0].pid, *descendants(workers[0].pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            stdout, _ = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
    row = json.loads(stdout)
    assert (run.returncode, row["status"], row["found"], row["accepted"]) == (0, "completed", IMAGES, IMAGES)
    results, calls = workspace.table("results"), workspace.table("calls")
    assert sorted(results["_document"].to_list()) == sorted(str(path) for path in (workspace.folder / "in").iterdir())
    assert workspace.table("runs").height == 1
    lost = calls.filter(calls["billed"] == "unknown")["document"].to_list()
    twice = [count for count in Counter(server.documents).values() if count > 1]
    assert len(twice) <= len(lost) <= 2
    assert len(server.asked) == IMAGES + sum(twice) - len(twice)
    assert calls.height == IMAGES + len(lost)
    assert not (workspace.folder / "out" / "staging").exists()
    assert not list((workspace.folder / "prefect").glob("*.db"))
    states = Counter(each["state_name"] for each in prefect.api.ask("POST", "flow_runs/filter"))
    assert states["Completed"] == IMAGES // SIZE + 1
    assert states["Crashed"] >= 1
    assert not states["Running"]


FLAGS = ("--schema", "caption", "--bill", "formula", "--yes", "--json")


def begun(workspace, server, prefect, at_work):
    """A run in two shards, both of which a worker is at, and the worker."""
    worker = prefect("worker", "start", "--pool", "tilewise", "--limit", 2)
    run = workspace.start("run", "in", *FLAGS, "--shard-size", IMAGES // 2, stdout=subprocess.PIPE)
    until(lambda: len(at_work()) == 2)
    until(lambda: len(server.asked) >= 4)
    return run, worker


def test_a_run_that_is_told_to_stop_tells_its_shards(workspace, server, prefect, at_work):
    """Each lets its call in flight finish; what was answered is published, and the rest remains."""
    run, _ = begun(workspace, server, prefect, at_work)
    with run:
        run.send_signal(signal.SIGTERM)
        stdout, _ = run.communicate(timeout=PATIENCE)
    row = json.loads(stdout)
    assert (run.returncode, row["status"], row["found"]) == (3, "stopped", IMAGES)
    assert row["accepted"] == row["calls"] == len(server.asked) < IMAGES
    assert row["remaining"] == IMAGES - row["accepted"]
    assert not at_work()


def test_a_parent_that_is_killed_is_taken_over(workspace, server, prefect, at_work):
    """Its shards stop by themselves; the next run publishes what they had done, and pays for the rest alone."""
    run, _ = begun(workspace, server, prefect, at_work)
    with run:
        run.kill()
    until(lambda: not at_work())
    again = workspace.tilewise("run", "in", *FLAGS, "--direct")
    row = json.loads(again.stdout)
    assert "which ended without publishing" in again.stderr
    assert (row["found"], row["accepted"] + row["skipped"], row["remaining"]) == (IMAGES, IMAGES, 0)
    assert row["skipped"] >= 4
    assert workspace.table("results")["_document"].n_unique() == workspace.table("results").height == IMAGES
    lost = workspace.table("calls").filter(workspace.table("calls")["billed"] == "unknown").height
    assert len(server.asked) <= IMAGES + 2
    assert workspace.table("calls").height == len(server.asked)
    assert lost == 0 or len(server.asked) > IMAGES
