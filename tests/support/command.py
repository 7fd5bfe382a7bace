"""A workspace in which tests run the command, with its own folder, environment and ledger, and servers for it."""

import base64
import contextlib
import io
import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import polars as pl
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from extractors.core.tiles import Size
from flows.cli import app

ROOT = Path(__file__).parents[2]
COMMAND = get_command(app)  # built once, as CliRunner builds it anew, with an adapter for each parameter, in every call
AUTHORITY = Path(__file__).with_name("authority.pem")  # one certificate loads faster than all of the system
KEY = "sk-test-4f1c9e77a2"
MODEL = "maker/model"
INPUT, CACHED, OUTPUT = Decimal("0.30"), Decimal("0.10"), Decimal("1.50")  # USD a million tokens
PRICES = f'[models."{MODEL}"]\ninput = {INPUT}\ncached_input = {CACHED}\noutput = {OUTPUT}\nas_of = 2026-11-01\n'
CAPTION = {"caption": "A wall", "alt_text": None, "tags": ["wall"]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CACHE = Path(tempfile.gettempdir()) / f"tilewise-tests-{os.getuid()}"  # holds Prefect's migrated database for all tests
MODULES = itertools.count(1)


def clean_environment():
    """The environment without variables of the project, of its endpoint or of Prefect."""
    prefixes = ("TILEWISE_", "PREFECT_", "TOGETHER_API_KEY")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


class Ended(NamedTuple):
    """Exit code and output of a command that ran in this process."""

    exit_code: int
    stdout: str
    stderr: str
    output: str  # both, in the order of printing


@dataclass
class Workspace:
    """Where the command runs: a folder with `in` for images and `out` for tables, and its settings."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    colours: itertools.count = field(default_factory=itertools.count, repr=False)

    def __post_init__(self):
        """Sets everything that would otherwise be written outside the folder."""
        (self.folder / "in").mkdir(parents=True)
        (self.folder / "prices.toml").write_text(PRICES)
        self.env = {
            "HOME": str(self.folder / "home"),
            "SSL_CERT_FILE": str(AUTHORITY),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(CACHE),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PYTHONPATH": str(ROOT),
            "TILEWISE_LEDGER": f"sqlite:///{self.folder / 'ledger.db'}",
            "TILEWISE_API_KEY": KEY,
            "TILEWISE_MODEL": MODEL,
            "TILEWISE_PRICES": str(self.folder / "prices.toml"),
            "TILEWISE_OUTPUT": str(self.folder / "out"),
        } | self.env

    def environment(self, env=None):
        """The complete environment of one command; None removes a variable."""
        asked = clean_environment() | self.env | (env or {})
        return {name: value for name, value in asked.items() if value is not None}

    def start(self, *args, env=None, **options):
        """Starts the command in its own process."""
        command = [sys.executable, "-m", "flows", *map(str, args)]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(env), text=True, **options)

    def tilewise(self, *args, env=None, input=None):  # noqa: A002  as subprocess names it
        """Runs the command in its own process to its end."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(*args, env=env, **pipes) as process:
            try:
                stdout, stderr = process.communicate(input, timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)

    def run(self, *args, env=None):
        """Runs the command in this process, which is faster; an uncaught exception fails the test."""
        wanted = self.environment(env)
        changed = {name: wanted.get(name) for name in {*os.environ, *wanted}}
        code = 0
        with contextlib.chdir(self.folder), CliRunner().isolation(env=changed) as streams:
            try:
                COMMAND.main([str(each) for each in args], prog_name="tilewise")
            except SystemExit as ended:
                code = ended.code or 0
            sys.stdout.flush()
            sys.stderr.flush()
            return Ended(code, *(stream.getvalue().decode() for stream in streams))

    def images(self, *names, size=(300, 200), folder="in"):
        """Writes images under these names; each differs from all others of this workspace, also as JPEG."""
        paths = [self.folder / folder / name for name in names]
        for path, number in zip(paths, self.colours, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = 40 + 8 * (number % 25), 40 + 8 * (number // 25 % 25), 8 * (number // 625)
            Image.new("RGB", size, colour).save(path, compress_level=1)
        return paths

    def with_images(self, *names, size=(300, 200), folder="in"):
        """Writes images and returns the workspace."""
        self.images(*names, size=size, folder=folder)
        return self

    def using(self, server=None, **settings):
        """Sets a server, or its URL, and settings, and returns the workspace; None removes a setting."""
        if server is not None:
            self.env["TILEWISE_BASE_URL"] = getattr(server, "url", server)
        self.env |= {f"TILEWISE_{name.upper()}": value for name, value in settings.items()}
        return self

    def module(self, text):
        """Writes a user's module into the working directory and returns its import name."""
        name = f"own_schema_{next(MODULES)}"
        (self.folder / f"{name}.py").write_text(text)
        return name

    def table(self, name, output="out"):
        """All published rows of this table."""
        files = sorted((self.folder / output / name).rglob("*.parquet"))
        return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()

    def only(self, name):
        """The single row of this table."""
        [row] = self.table(name).to_dicts()
        return row

    def files(self, below="."):
        """Every file under the workspace, or under one of its folders."""
        root = self.folder / below
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def save(self):
        """Copies the folder; returns a function that restores it."""
        copy = self.folder.with_name("saved")
        shutil.copytree(self.folder, copy)

        def restore():
            shutil.rmtree(self.folder)
            shutil.copytree(copy, self.folder)

        return restore

    def read_all_bytes(self):
        """The text of all files: their bytes, and the values of compressed tables."""
        said = io.StringIO()
        for path in (self.folder / each for each in self.files()):
            said.write(path.read_bytes().decode("latin-1"))
            if path.suffix == ".parquet":
                said.write(json.dumps(pl.read_parquet(path).to_dicts(), default=str))
        return said.getvalue()


@pytest.fixture
def workspace(tmp_path):
    """The workspace of one test."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory):
    """Creates workspaces that several tests read."""
    return lambda **env: Workspace(tmp_path_factory.mktemp("workspaces") / "workspace", env)


@contextlib.contextmanager
def endpoint(*args):
    """Starts an endpoint process that answers without reading, and gives its URL."""
    command = [sys.executable, "-m", "extractors.endpoint", "--reader", "echo", "--port", "0", "--parent-pipe", *args]
    env = clean_environment() | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def endpoints():
    """Starts endpoint processes that answer without reading, and returns their URLs."""
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(endpoint(*args))


@pytest.fixture(scope="session")
def echo():
    """The URL of an endpoint that answers at once with the smallest instance of the schema."""
    with endpoint() as url:
        yield url


class Answer(NamedTuple):
    """One scripted reply: status 0 resets the connection, and status -1 sends nothing."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {"Content-Type": "application/json"}  # noqa: RUF012 - read only, the same for all requests


class Replies:
    """Replies for the script of a server."""

    reset = Answer(0)
    nothing = Answer(-1)

    @staticmethod
    def ok(content=CAPTION, *, usage=USAGE, finish="stop", model=MODEL, **message):
        """A completion; a `content` of type str is sent unchanged."""
        text = content if isinstance(content, str | None) else json.dumps(content)
        choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        whole = {"id": "cmpl-1", "model": model, "choices": [choice], "usage": usage}
        return Answer(body=json.dumps(whole).encode())

    @staticmethod
    def error(status, message="no", code=None, **headers):
        """An error in the form of the API."""
        body = json.dumps({"error": {"message": message, "type": "some_error", "param": None, "code": code}})
        return Answer(status, body.encode(), {"Content-Type": "application/json", **headers})

    @staticmethod
    def billing(tokens, bytes_a_token=4, completion=1):
        """A script that counts `tokens(size)` for each picture, and one token per `bytes_a_token` bytes of text."""

        def script(asked):
            words = "".join(words for words, _ in parts(asked) if words)
            prompt = len(words.encode()) // bytes_a_token + sum(tokens(size) for _, size in parts(asked) if size)
            return Replies.ok(usage={"prompt_tokens": prompt, "completion_tokens": completion})

        return script

    @staticmethod
    def raw(body, status=200, kind="application/json"):
        """Exactly these bytes."""
        return Answer(status, body if isinstance(body, bytes) else body.encode(), {"Content-Type": kind})

    @staticmethod
    def events(*chunks):
        """Server-sent events, closed by `[DONE]`."""
        lines = [f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in (*chunks, "[DONE]")]
        return Answer(200, "".join(lines).encode(), {"Content-Type": "text/event-stream"})


@pytest.fixture(scope="session")
def replies():
    """Replies for the script of a server."""
    return Replies


class Server(ThreadingHTTPServer):
    """A server that answers chat requests by its script and records them."""

    daemon_threads = True

    def __init__(self, script):
        """`script` is a list of answers, of which the last one repeats, or a function of the request."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.asked, self.keys = script, [], []
        self.listed = Replies.error(404)  # the answer of `/v1/models`, or a function of the path
        self.closing, self.gate = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self):
        """The base URL."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answers_with(self, *script):
        """Replaces the script."""
        self.script = script[0] if callable(script[0]) else script

    def hold(self, answer):
        """Makes every request wait until the gate opens."""

        def script(asked):
            self.gate.wait(90)
            return answer

        self.script = script

    @property
    def documents(self):
        """The first picture of every request, as it was sent."""
        return [each["messages"][1]["content"][1]["image_url"]["url"] for each in self.asked]

    @property
    def pictures(self):
        """The sizes of the first picture of every request."""
        return [picture_size(each) for each in self.asked]

    def answer(self, asked, key):
        """The next answer of the script."""
        with self._lock:
            self.asked.append(asked)
            self.keys.append(key)
            number = len(self.asked) - 1
        if callable(self.script):
            return self.script(asked)
        return self.script[min(number, len(self.script) - 1)]

    def handle_error(self, request, client_address):
        """Ignores clients that have disconnected."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        listed = self.server.listed
        self._send(listed(self.path.partition("?")[0]) if callable(listed) else listed)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(self.server.answer(asked, self.headers["Authorization"]))

    def _send(self, answer):
        if answer.status == -1:
            self.server.closing.wait(30)
        if answer.status <= 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *args):
        pass


def parts(asked):
    """The content of a request as pairs: a text and None, or None and a picture's size."""
    contents = [message["content"] for message in asked["messages"]]
    blocks = [[{"type": "text", "text": each}] if isinstance(each, str) else each for each in contents]
    return [
        (block["text"], None) if block["type"] == "text" else (None, size_of(block["image_url"]["url"]))
        for block in itertools.chain(*blocks)
    ]


def size_of(url):
    """The size of the picture in a data URL."""
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return Size(*picture.size)


def picture_size(asked):
    """The size of the first picture in a request."""
    return next(size for _, size in parts(asked) if size)


@pytest.fixture
def prefect_like(serve, replies):
    """Starts a server that answers like Prefect's with these objects, by the end of the path; returns its API's URL."""

    def start(**things):
        def listed(path):
            kind, name = path.split("/")[-2:]
            return replies.raw(json.dumps(things[kind](name))) if kind in things else replies.error(404)

        server = serve(replies.raw("[]"))
        server.listed = listed
        return f"http://127.0.0.1:{server.server_port}/api"

    return start


@pytest.fixture
def secret_block():
    """Makes a Secret block of this value, in the form of Prefect's API."""
    ids = {"block_schema_id": str(uuid4()), "block_type_id": str(uuid4())}
    return lambda value: lambda name: ids | {"name": name, "data": {"value": value}}


@pytest.fixture
def wait():
    """Waits until a condition holds, for at most two minutes, and returns its value."""

    def until(holds):
        end = time.monotonic() + 120
        while not (held := holds()):
            assert time.monotonic() < end, "it never came to hold"
            time.sleep(0.02)
        return held

    return until


@pytest.fixture
def descendants():
    """Lists the processes that a process has started, directly or through others."""

    def below(pid):
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent = path.read_text().rpartition(")")[2].split()[:2]
                parents[int(path.parent.name)] = None if state == "Z" else int(parent)
        children = [each for each, parent in parents.items() if parent == pid]
        return children + [each for child in children for each in below(child)]

    return below


@pytest.fixture
def gone(wait):
    """Waits until all of these processes have ended."""

    def state(pid):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "gone"

    return lambda pids: wait(lambda: all(state(pid) in {"gone", "Z", "X"} for pid in pids))


@pytest.fixture
def serve():
    """Starts servers by script, and stops them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *script: stack.enter_context(run_server(script))


@pytest.fixture
def server(serve, replies):
    """A server that answers every request with an accepted caption."""
    return serve(replies.ok())


@pytest.fixture(scope="module")
def serve_all():
    """Starts servers as `serve` does, for all tests of a module."""
    with contextlib.ExitStack() as stack:
        yield lambda *script: stack.enter_context(run_server(script))


@contextlib.contextmanager
def run_server(script):
    """Runs one server in its own thread."""
    with Server(script[0] if callable(script[0]) else script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.gate.set()
            server.shutdown()
            thread.join()
