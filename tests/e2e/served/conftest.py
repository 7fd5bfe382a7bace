"""A real Prefect server with every deployment on it, and its API as a test asks it."""

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

PATIENCE = 90  # seconds: the machines that run this are slow


@dataclass
class Api:
    """What a browser asks of Prefect."""

    url: str

    def ask(self, method, path, **body):
        """One request; gives its JSON, which is of an error where there was one."""
        return self.send(method, path, body or None)

    def send(self, method, path, body):
        """The same with any JSON for a body. A busy SQLite is asked again."""
        while True:
            answer = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=30, trust_env=False)
            if answer.status_code != 503:
                return answer.json() if answer.content else None
            time.sleep(0.5)

    def deployment(self, name):
        """A deployment, by its flow's name and its own."""
        return self.ask("GET", f"deployments/name/{name}")

    def start(self, name, **parameters):
        """A run of a deployment, as its form starts one."""
        path = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.ask("POST", path, parameters=parameters, state={"type": "SCHEDULED"})

    def flow_run(self, flow_run):
        """The run as it is now."""
        return self.ask("GET", f"flow_runs/{flow_run['id']}")

    def until(self, flow_run, *states):
        """The run once it is in one of these states; in one of those that are final where none is named."""
        wanted = states or ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        end = time.monotonic() + PATIENCE
        while (now := self.flow_run(flow_run))["state_type"] not in wanted:
            assert time.monotonic() < end, now["state"]
            time.sleep(0.1)
        return now

    def run_to_end(self, name, **parameters):
        """A run of a deployment, ended."""
        return self.until(self.start(name, **parameters))

    def artifacts(self, flow_run):
        """What the run shows, by key."""
        listed = self.ask("POST", "artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run["id"]]}})
        return {each["key"]: each for each in listed if each["key"]}

    def events(self, flow_run, name):
        """The run's events of this name; they come a little later."""
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        resource = {"id": [f"prefect.flow-run.{flow_run['id']}"]}
        asked = {"event": {"name": [name]}, "resource": resource, "occurred": {"since": since}}
        end = time.monotonic() + PATIENCE
        while not (found := self.ask("POST", "events/filter", filter=asked)["events"]):
            assert time.monotonic() < end
            time.sleep(0.2)
        return found

    def logs(self, flow_run, last="ended"):
        """What the run has logged, once a line that begins like its last one is there."""
        asked = {"flow_run_id": {"any_": [flow_run["id"]]}}
        end = time.monotonic() + PATIENCE
        while True:
            lines = [each["message"] for each in self.ask("POST", "logs/filter", logs=asked)]
            if any(line.startswith(last) for line in lines):
                return lines
            assert time.monotonic() < end, lines
            time.sleep(0.2)


def free_port():
    """A port that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answering(url):
    """Waits until a Prefect server answers there."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/api/health", trust_env=False).is_success:
                return Api(url)
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture(scope="session", name="free")
def free_ports():
    """Gives ports that nobody has."""
    return free_port


@pytest.fixture(scope="session", name="answering")
def answering_fixture():
    """Waits until a Prefect server answers, and gives its API."""
    return answering


@dataclass
class Serving:
    """`tilewise serve`, running."""

    workspace: object
    process: subprocess.Popen
    api: Api
    seconds: float
    port: int
    errors: Path

    def stop(self, number=signal.SIGTERM):
        """Tells it to stop, and gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def wait_for_line(self, words):
        """Reads what it prints up to a line with these words; fails where its output ends before."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return line
        pytest.fail(f"{words!r} is not in {lines}")

    def states(self):
        """The states of all flow runs as the database has them, also after the server has ended."""
        [path] = (self.workspace.folder / "state" / "tilewise" / "prefect").glob("workspace-*/prefect.db")
        with contextlib.closing(sqlite3.connect(path)) as database:
            rows = database.execute("select id, state_name from flow_run where start_time is not null")
            return {str(UUID(identity)): state for identity, state in rows}


@contextlib.contextmanager
def serving(workspace, text=None, port=None):
    """`tilewise serve` at a workspace, with these deployments or those that are shipped; ready."""
    workspace.env |= {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2"}
    workspace.images("a.jpg", "b.jpg")
    (workspace.folder / ".env").write_text("TILEWISE_MODEL=maker/model\n")  # what a run reads where serve was started
    if text:
        (workspace.folder / "prefect.yaml").write_text(text)
    port, began = port or free_port(), time.monotonic()
    errors = workspace.folder / f"serve-{port}.log"
    with (
        errors.open("a") as stderr,
        workspace.start("serve", "--port", port, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        try:
            said = process.stdout.readline()
            assert f"at http://127.0.0.1:{port}" in said, errors.read_text()
            yield Serving(workspace, process, Api(f"http://127.0.0.1:{port}"), time.monotonic() - began, port, errors)
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def serve_at():
    """Starts `tilewise serve` at a workspace, and ends it."""
    with contextlib.ExitStack() as stack:
        yield lambda workspace, text=None, port=None: stack.enter_context(serving(workspace, text, port))


@pytest.fixture
def server_of(descendants, wait):
    """Gives the process of Prefect's server below a `serve`, once there is one."""

    def found(served):
        commands = {pid: Path(f"/proc/{pid}/cmdline") for pid in descendants(served.process.pid)}
        with contextlib.suppress(OSError):  # one has just ended
            return [pid for pid, path in commands.items() if b"flows.serving.server" in path.read_bytes()]

    return lambda served: wait(lambda: found(served))[0]


@dataclass
class Running:
    """A run whose calls are on their way, its server, and where its tables are."""

    served: Serving
    server: object
    run: dict
    output: str

    def row(self):
        """The run's row of the table `runs`."""
        [row] = self.served.workspace.table("runs", self.output).to_dicts()
        return row


@contextlib.contextmanager
def running_at(served, server, replies, output):
    """A run of `nightly` into this output, until its calls may be answered."""
    server.hold(replies.ok())
    job = {"source": "in", "schema_name": "caption", "base_url": server.url, "output": output, "yes": True}
    run = served.api.start("extract/nightly", job=job)
    served.api.until(run, "RUNNING")
    try:
        yield Running(served, server, run, output)
    finally:
        server.gate.set()


@pytest.fixture
def running(workspace, serve, replies):
    """A run whose calls are on their way, at a `serve` of its own, which the test may end."""
    with serving(workspace) as served, running_at(served, serve(replies.ok()), replies, "out") as run:
        yield run


@pytest.fixture(scope="module")
def shared_serve(workspaces, serve_at):
    """A `serve` for the tests of a module that leave it alive."""
    return serve_at(workspaces())


@pytest.fixture
def running_at_shared(shared_serve, serve, replies, request):
    """A run whose calls are on their way, at the `serve` of the module, into an output of its own."""
    output = re.sub(r"\W", "-", request.node.name)  # a bracket would be a pattern
    with running_at(shared_serve, serve(replies.ok()), replies, output) as run:
        yield run
