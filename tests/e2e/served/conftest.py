"""A real Prefect server with every deployment, and its API."""

import contextlib
import re
import signal
import socket
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

PATIENCE = 90  # seconds; CI machines are slow


@dataclass
class Api:
    """A client of Prefect's REST API."""

    url: str

    def request(self, method, path, **body):
        """Sends one request; returns its JSON, also that of an error."""
        return self.send(method, path, body or None)

    def send(self, method, path, body):
        """Sends any JSON as a body; repeats the request while SQLite is busy (503)."""
        while True:
            answer = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=30, trust_env=False)
            if answer.status_code != 503:
                return answer.json() if answer.content else None
            time.sleep(0.5)

    def deployment(self, name):
        """A deployment, by the names of its flow and its own."""
        return self.request("GET", f"deployments/name/{name}")

    def start(self, name, **parameters):
        """Starts a run of a deployment, as its form does."""
        path = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.request("POST", path, parameters=parameters, state={"type": "SCHEDULED"})

    def flow_run(self, flow_run):
        """The current flow run."""
        return self.request("GET", f"flow_runs/{flow_run['id']}")

    def wait_for_state(self, flow_run, *states):
        """Waits until the run is in one of these states, by default in a final one, and returns the run."""
        wanted = states or ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        end = time.monotonic() + PATIENCE
        while (current := self.flow_run(flow_run))["state_type"] not in wanted:
            assert time.monotonic() < end, current["state"]
            time.sleep(0.1)
        return current

    def run_to_end(self, name, **parameters):
        """Starts a run of a deployment, and waits for its final state."""
        return self.wait_for_state(self.start(name, **parameters))

    def artifacts(self, flow_run):
        """The artifacts of a run, by key."""
        artifacts = self.request("POST", "artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run["id"]]}})
        return {artifact["key"]: artifact for artifact in artifacts if artifact["key"]}

    def events(self, flow_run, name):
        """The events of a run with this name, once there is one."""
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        resource = {"id": [f"prefect.flow-run.{flow_run['id']}"]}
        query = {"event": {"name": [name]}, "resource": resource, "occurred": {"since": since}}
        end = time.monotonic() + PATIENCE
        while not (events := self.request("POST", "events/filter", filter=query)["events"]):
            assert time.monotonic() < end
            time.sleep(0.2)
        return events

    def logs(self, flow_run, last="ended"):
        """The log lines of a run, once one of them starts with `last`."""
        query = {"flow_run_id": {"any_": [flow_run["id"]]}}
        end = time.monotonic() + PATIENCE
        while True:
            lines = [entry["message"] for entry in self.request("POST", "logs/filter", logs=query)]
            if any(line.startswith(last) for line in lines):
                return lines
            assert time.monotonic() < end, lines
            time.sleep(0.2)


def free_port():
    """A port that is not in use."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def wait_for_server(url):
    """Waits until a Prefect server answers there, and returns its API."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/api/health", trust_env=False).is_success:
                return Api(url)
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture(scope="session", name="free_port")
def free_port_fixture():
    """Finds ports that are not in use."""
    return free_port


@pytest.fixture(scope="session", name="wait_for_server")
def wait_for_server_fixture():
    """Waits until a Prefect server answers, and returns its API."""
    return wait_for_server


@dataclass
class ServeProcess:
    """A running `tilewise serve`."""

    workspace: object
    process: subprocess.Popen
    api: Api
    seconds: float
    port: int
    errors: Path

    def stop(self, number=signal.SIGTERM):
        """Sends a signal, and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def wait_for_line(self, words):
        """Reads its output up to a line with this text; fails if the output ends before."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return line
        pytest.fail(f"{words!r} is not in {lines}")

    def states(self):
        """The states of all flow runs that have started, from the database, which outlives the server."""
        [path] = (self.workspace.folder / "state" / "tilewise" / "prefect").glob("workspace-*/prefect.db")
        with contextlib.closing(sqlite3.connect(path)) as database:
            rows = database.execute("select id, state_name from flow_run where start_time is not null")
            return {str(UUID(identity)): state for identity, state in rows}


@contextlib.contextmanager
def start_serve(workspace, text=None, port=None):
    """Runs `tilewise serve` in a workspace, with these deployments or the shipped ones."""
    workspace.env |= {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2"}
    workspace.images("a.jpg", "b.jpg")
    (workspace.folder / ".env").write_text("TILEWISE_MODEL=maker/model\n")  # runs read it in the folder of serve
    if text:
        (workspace.folder / "prefect.yaml").write_text(text)
    port, start = port or free_port(), time.monotonic()
    errors = workspace.folder / f"serve-{port}.log"
    with (
        errors.open("a") as stderr,
        workspace.start("serve", "--port", port, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        try:
            line = process.stdout.readline()
            assert f"at http://127.0.0.1:{port}" in line, errors.read_text()
            yield ServeProcess(
                workspace, process, Api(f"http://127.0.0.1:{port}"), time.monotonic() - start, port, errors
            )
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def serve_at():
    """Starts `tilewise serve` in workspaces, and ends it."""
    with contextlib.ExitStack() as stack:
        yield lambda workspace, text=None, port=None: stack.enter_context(start_serve(workspace, text, port))


@pytest.fixture
def find_server_pid(descendants, wait):
    """Finds the process of Prefect's server below a `serve`."""

    def find(serve_process):
        commands = {pid: Path(f"/proc/{pid}/cmdline") for pid in descendants(serve_process.process.pid)}
        with contextlib.suppress(OSError):  # a process has just ended
            return [pid for pid, path in commands.items() if b"flows.serving.server" in path.read_bytes()]

    return lambda serve_process: wait(lambda: find(serve_process))[0]


@dataclass
class HeldRun:
    """A run whose calls are in flight, its server, and its output."""

    serve_process: ServeProcess
    server: object
    run: dict
    output: str

    def row(self):
        """The run's row of `runs`."""
        [row] = self.serve_process.workspace.table("runs", self.output).to_dicts()
        return row


@contextlib.contextmanager
def start_held_run(serve_process, server, replies, output):
    """Runs `nightly` into this output, with its calls held until its server's gate is opened."""
    server.hold(replies.ok())
    job = {"source": "in", "schema_name": "caption", "base_url": server.url, "output": output, "yes": True}
    run = serve_process.api.start("extract/nightly", job=job)
    serve_process.api.wait_for_state(run, "RUNNING")
    try:
        yield HeldRun(serve_process, server, run, output)
    finally:
        server.gate.set()


@pytest.fixture
def held_run(workspace, serve, replies):
    """A run whose calls are in flight, with its own `serve`, which the test may end."""
    with (
        start_serve(workspace) as serve_process,
        start_held_run(serve_process, serve(replies.ok()), replies, "out") as run,
    ):
        yield run


@pytest.fixture(scope="module")
def shared_serve(workspaces, serve_at):
    """A `serve` for the tests of a module that do not end it."""
    return serve_at(workspaces())


@pytest.fixture
def shared_held_run(shared_serve, serve, replies, request):
    """A run whose calls are in flight, with the `serve` of the module and an output of its own."""
    output = re.sub(r"\W", "-", request.node.name)  # polars would read brackets as a pattern
    with start_held_run(shared_serve, serve(replies.ok()), replies, output) as run:
        yield run
