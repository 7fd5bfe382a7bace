"""A sharded run with Prefect's server and the ledger on PostgreSQL, and two workers, of which one is killed."""

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
    """Runs Prefect's command against the server of this module, each process in a session of its own."""

    workspace: object
    api: object = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self, *args, stack=None):
        """Starts the command as a process that the stack ends: that of one test, or that of the module."""
        command = [sys.executable, "-m", "prefect", *map(str, args)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(
            command, cwd=self.workspace.folder, env=self.workspace.environment(), start_new_session=True, **pipes
        )
        stack = stack or self.stack
        stack.callback(process.wait, PATIENCE)
        stack.callback(process.terminate)
        return process

    def count_states(self):
        """The number of flow runs by state."""
        return Counter(flow_run["state_name"] for flow_run in self.api.request("POST", "flow_runs/filter"))


@pytest.fixture(scope="module")
def prefect(workspaces, postgres, free_port, wait_for_server):
    """A server on PostgreSQL, with a work pool and the deployment of shards."""
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
    port, prefect = free_port(), Prefect(workspace)
    with prefect.stack:
        prefect.run("server", "start", "--port", port)
        prefect.api = wait_for_server(f"http://127.0.0.1:{port}")
        workspace.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        assert prefect.run("work-pool", "create", "tilewise", "--type", "process").wait(PATIENCE) == 0
        assert prefect.run("deploy", "--name", "shard").wait(PATIENCE) == 0
        yield prefect


@pytest.fixture
def gate():
    """Calls are answered while it is set."""
    gate = threading.Event()
    gate.set()
    yield gate
    gate.set()


@pytest.fixture
def workspace(prefect, server, replies, postgres, gate):
    """Images for this test, a ledger on PostgreSQL, and calls that take a second."""

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
    """Starts workers with the settings of this test, and ends them."""
    with contextlib.ExitStack() as stack:
        yield lambda: prefect.run("worker", "start", "--pool", "tilewise", "--limit", 2, stack=stack)


@pytest.fixture
def list_working_pids(workspace):
    """The processes that are working on shards, from the ledger."""
    engine = sa.create_engine(workspace.env["TILEWISE_LEDGER"])

    def pids():
        try:
            with engine.connect() as connection:
                return set(connection.execute(sa.select(SHARDS.c.pid).where(SHARDS.c.status.is_(None))).scalars())
        except sa.exc.ProgrammingError:  # the run has not created the tables yet
            return set()

    yield pids
    engine.dispose()


def wait_until(condition):
    """Waits until the condition holds, and returns its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.1)
    return value


def test_killed_worker_costs_its_calls_in_flight_only(
    workspace, server, prefect, start_worker, list_working_pids, descendants, gate
):
    """The other worker completes its shards: all results in one volume, and no other call is paid for twice."""
    before = prefect.count_states()
    gate.clear()
    workers = [start_worker() for _ in range(2)]
    flags = ("--schema", "caption", "--bill", "formula", "--shard-size", SIZE, "--yes", "--json")
    with workspace.start("run", "in", *flags, stdout=subprocess.PIPE) as run:
        try:
            wait_until(lambda: len(list_working_pids()) == IMAGES // SIZE)
            calls_before = len(server.asked)
            gate.set()
            wait_until(lambda: len(server.asked) >= calls_before + 6)
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
    unknown = calls.filter(calls["billed"] == "unknown")["document"].to_list()
    repeated = [count for count in Counter(server.documents).values() if count > 1]
    assert len(repeated) <= len(unknown) <= 2
    assert len(server.asked) == IMAGES + sum(repeated) - len(repeated)
    assert calls.height == IMAGES + len(unknown)
    assert not (workspace.folder / "out" / "staging").exists()
    assert not list((workspace.folder / "prefect").glob("*.db"))
    states = prefect.count_states() - before
    assert states["Completed"] == IMAGES // SIZE + 1
    assert states["Crashed"] >= 1
    assert not states["Running"]


FLAGS = ("--schema", "caption", "--bill", "formula", "--yes", "--json")


@pytest.fixture
def sharded_run(workspace, server, start_worker, list_working_pids):
    """A run in two shards, both of which are being processed."""
    start_worker()
    run = workspace.start("run", "in", *FLAGS, "--shard-size", IMAGES // 2, stdout=subprocess.PIPE)
    wait_until(lambda: len(list_working_pids()) == 2)
    wait_until(lambda: len(server.asked) >= 4)
    return run


def test_stopped_run_stops_its_shards(sharded_run, server, list_working_pids):
    """Calls in flight finish, their answers are published, and the rest remains."""
    with sharded_run as run:
        run.send_signal(signal.SIGTERM)
        stdout, _ = run.communicate(timeout=PATIENCE)
    row = json.loads(stdout)
    assert (run.returncode, row["status"], row["found"]) == (3, "stopped", IMAGES)
    assert row["accepted"] == row["calls"] == len(server.asked) < IMAGES
    assert row["remaining"] == IMAGES - row["accepted"]
    assert not list_working_pids()


def test_next_run_recovers_a_killed_parent(sharded_run, workspace, server, list_working_pids):
    """Its shards stop by themselves; the next run publishes their results, and pays for the rest only."""
    with sharded_run as run:
        run.kill()
    wait_until(lambda: not list_working_pids())
    second = workspace.tilewise("run", "in", *FLAGS, "--direct")
    row = json.loads(second.stdout)
    assert "which ended without publishing" in second.stderr
    assert (row["found"], row["accepted"] + row["skipped"], row["remaining"]) == (IMAGES, IMAGES, 0)
    assert row["skipped"] >= 4
    assert workspace.table("results")["_document"].n_unique() == workspace.table("results").height == IMAGES
    unknown = workspace.table("calls").filter(workspace.table("calls")["billed"] == "unknown").height
    assert len(server.asked) <= IMAGES + 2
    assert workspace.table("calls").height == len(server.asked)
    assert unknown == 0 or len(server.asked) > IMAGES


def test_shards_of_a_paused_parent_stop_by_themselves(sharded_run, prefect, server, list_working_pids):
    """Although the stopped process of the parent cannot notify them; it publishes their results afterwards."""
    with sharded_run as run:
        flow_runs = prefect.api.request("POST", "flow_runs/filter")
        candidates = [
            flow_run
            for flow_run in flow_runs
            if flow_run["state_name"] == "Running" and not flow_run["parent_task_run_id"]
        ]
        parent = max(candidates, key=lambda row: row["start_time"])  # an earlier, killed run may still be Running
        run.send_signal(signal.SIGSTOP)
        try:
            paused = {"type": "PAUSED", "name": "Paused", "state_details": {"pause_reschedule": False}}
            answer = prefect.api.send("POST", f"flow_runs/{parent['id']}/set_state", {"state": paused})
            start = time.monotonic()
            wait_until(lambda: not list_working_pids())
            seconds = time.monotonic() - start
        finally:
            run.send_signal(signal.SIGCONT)
        stdout, _ = run.communicate(timeout=PATIENCE)
    row = json.loads(stdout)
    assert answer["status"] == "ACCEPT"
    assert seconds < LEASE_SECONDS  # after that, the parent would count as abandoned
    assert (run.returncode, row["status"]) == (3, "stopped")
    assert row["accepted"] == row["calls"] == len(server.asked) < IMAGES
    assert prefect.api.flow_run(parent)["state_name"] == "Partial"
