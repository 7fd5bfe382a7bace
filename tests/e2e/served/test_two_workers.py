"""A run in shards on a real Prefect server, both it and the ledger on PostgreSQL: two workers, of which one is killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from extractors.record.ledger.owner import LEASE_SECONDS
from extractors.record.ledger.schema import SHARDS

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
FILE = Path(__file__).parents[3] / "prefect.yaml"
PATIENCE = 240  # seconds
IMAGES, SIZE, SECONDS = 24, 6, 1.0


@dataclass
class Prefect:
    """Prefect's own command at a server of these tests' own, each in a session of its own."""

    workspace: object
    api: object = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self, *args, stack=None):
        """The command as a process, which the stack ends: of one test, or of all."""
        command = [sys.executable, "-m", "prefect", *map(str, args)]
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(
            command, cwd=self.workspace.folder, env=self.workspace.environment(), start_new_session=True, **silent
        )
        stack = stack or self.stack
        stack.callback(process.wait, PATIENCE)
        stack.callback(process.terminate)
        return process

    def count_states(self):
        """The flow runs by the name of their state."""
        return Counter(each["state_name"] for each in self.api.ask("POST", "flow_runs/filter"))


@pytest.fixture(scope="module")
def prefect(workspaces, postgres, free, answering):
    """A server on PostgreSQL, with a pool and the deployment of shards."""
    workspace = workspaces(
        TILEWISE_CONCURRENCY="1",
        TILEWISE_CHUNK="2",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        PREFECT_CLI_PROMPT="false",
        PREFECT_WORKER_QUERY_SECONDS="1",
        PREFECT_SERVER_DATABASE_CONNECTION_URL=postgres().replace("+psycopg", "+asyncpg"),
    )
    shutil.copy(FILE, workspace.folder)
    port, prefect = free(), Prefect(workspace)
    with prefect.stack:
        prefect.run("server", "start", "--port", port)
        prefect.api = answering(f"http://127.0.0.1:{port}")
        workspace.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        assert prefect.run("work-pool", "create", "tilewise", "--type", "process").wait(PATIENCE) == 0
        assert prefect.run("deploy", "--name", "shard").wait(PATIENCE) == 0
        yield prefect


@pytest.fixture
def gate():
    """While it is cleared, no call is answered."""
    gate = threading.Event()
    gate.set()
    yield gate
    gate.set()


@pytest.fixture
def workspace(prefect, server, replies, postgres, gate):
    """Pictures that take a while each, which no other test has; the ledger is on PostgreSQL, and calls leave one by one."""

    def script(asked):
        gate.wait(PATIENCE)
        time.sleep(SECONDS)
        return replies.ok()

    server.answers_with(script)
    shared = prefect.workspace
    for name in ("in", "out"):
        shutil.rmtree(shared.folder / name, ignore_errors=True)
    shared.images(*(f"{number:02}.png" for number in range(IMAGES)))
    shared.env |= {"TILEWISE_BASE_URL": server.url, "TILEWISE_LEDGER": postgres()}
    return shared


@pytest.fixture
def start_worker(prefect, workspace):
    """Starts a worker with the settings of this test, and ends it."""
    with contextlib.ExitStack() as stack:
        yield lambda: prefect.run("worker", "start", "--pool", "tilewise", "--limit", 2, stack=stack)


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
    workspace, server, prefect, start_worker, at_work, descendants, gate
):
    """The other worker does the rest: complete results, in one volume, and nothing else was paid for twice."""
    before = prefect.count_states()
    gate.clear()
    workers = [start_worker() for _ in range(2)]
    flags = ("--schema", "caption", "--bill", "formula", "--shard-size", SIZE, "--yes", "--json")
    with workspace.start("run", "in", *flags, stdout=subprocess.PIPE) as run:
        try:
            until(lambda: len(at_work()) == IMAGES // SIZE)
            seen = len(server.asked)
            gate.set()
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
    states = prefect.count_states() - before
    assert states["Completed"] == IMAGES // SIZE + 1
    assert states["Crashed"] >= 1
    assert not states["Running"]


FLAGS = ("--schema", "caption", "--bill", "formula", "--yes", "--json")


@pytest.fixture
def begun(workspace, server, start_worker, at_work):
    """A run in two shards, both of which a worker is at."""
    start_worker()
    run = workspace.start("run", "in", *FLAGS, "--shard-size", IMAGES // 2, stdout=subprocess.PIPE)
    until(lambda: len(at_work()) == 2)
    until(lambda: len(server.asked) >= 4)
    return run


def test_a_run_that_is_told_to_stop_tells_its_shards(begun, server, at_work):
    """Each lets its call in flight finish; what was answered is published, and the rest remains."""
    with begun as run:
        run.send_signal(signal.SIGTERM)
        stdout, _ = run.communicate(timeout=PATIENCE)
    row = json.loads(stdout)
    assert (run.returncode, row["status"], row["found"]) == (3, "stopped", IMAGES)
    assert row["accepted"] == row["calls"] == len(server.asked) < IMAGES
    assert row["remaining"] == IMAGES - row["accepted"]
    assert not at_work()


def test_a_parent_that_is_killed_is_taken_over(begun, workspace, server, at_work):
    """Its shards stop by themselves; the next run publishes what they had done, and pays for the rest alone."""
    with begun as run:
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


def test_shards_stop_by_themselves_when_their_parent_is_paused(begun, prefect, server, at_work):
    """While the parent's process stands still and can tell them nothing; afterwards it publishes what they had done."""
    with begun as run:
        flow_runs = prefect.api.ask("POST", "flow_runs/filter")
        running = [each for each in flow_runs if each["state_name"] == "Running" and not each["parent_task_run_id"]]
        parent = max(running, key=lambda each: each["start_time"])  # a killed one of another test may be Running still
        run.send_signal(signal.SIGSTOP)
        try:
            paused = {"type": "PAUSED", "name": "Paused", "state_details": {"pause_reschedule": False}}
            answer = prefect.api.send("POST", f"flow_runs/{parent['id']}/set_state", {"state": paused})
            since = time.monotonic()
            until(lambda: not at_work())
            seconds = time.monotonic() - since
        finally:
            run.send_signal(signal.SIGCONT)
        stdout, _ = run.communicate(timeout=PATIENCE)
    row = json.loads(stdout)
    assert answer["status"] == "ACCEPT"
    assert seconds < LEASE_SECONDS  # after that, a parent that stands still counts as gone
    assert (run.returncode, row["status"]) == (3, "stopped")
    assert row["accepted"] == row["calls"] == len(server.asked) < IMAGES
    assert prefect.api.flow_run(parent)["state_name"] == "Partial"
