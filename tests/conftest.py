"""Fixtures of all tests: an event loop in simulated time, a bucket, cloud accounts, PostgreSQL and PDFs."""

import asyncio
import gc
import hashlib
import itertools
import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hypothesis
import pytest
from support.environment import stabilize

stabilize()
# Examples have no deadline and may take long to make, as a machine may be busy. CI always tries the same ones.
hypothesis.settings.register_profile(
    "tilewise",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
hypothesis.settings.load_profile("tilewise")
pytest_plugins = ["support.command", "support.golden", "support.history"]
START_SECONDS = 60


def pytest_collection():
    """Turns off garbage collection while tests are collected: thousands of objects are made, and all stay."""
    gc.disable()


def pytest_collection_finish():
    """Excludes what was collected from all later garbage collections."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish():
    """Lets the interpreter free everything at its end: native code would report the rest as leaks."""
    gc.unfreeze()


@pytest.fixture
def anyio_backend():
    """Async tests run on asyncio, the loop of the engine."""
    return "asyncio"


class Selector(selectors.DefaultSelector):
    """Never waits: it adds the timeout to the simulated time and returns."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        assert timeout is not None, "everybody waits for something that never comes"
        self.loop.now += timeout
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour of sleep takes no time and every run is the same."""

    def __init__(self):
        self.now = 0.0
        super().__init__(Selector(self))

    def time(self):
        return self.now


@pytest.fixture
def loop():
    """A simulated loop; the tasks that are left are cancelled before it is closed."""
    simulated = SimulatedLoop()
    yield simulated
    simulated.run_until_complete(_cancelled())
    simulated.close()


async def _cancelled():
    left = asyncio.all_tasks() - {asyncio.current_task()}
    [task.cancel() for task in left]
    await asyncio.gather(*left, return_exceptions=True)


@dataclass
class Bucket:
    """A bucket on the S3 server of the tests, behind a front that records every request and may answer itself."""

    name: str
    server: int
    front: "Front"
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def url(self):
        """The bucket's URL as a source."""
        return f"s3://{self.name}"

    def ask(self, method, path="", body=b"", service="s3"):
        """Sends one request to the server itself, as if signed; returns the body of the answer."""
        connection = HTTPConnection("127.0.0.1", self.server, timeout=30)
        signed = f"AWS4-HMAC-SHA256 Credential=AKIATILEWISE/20261101/us-east-1/{service}/aws4_request"
        kind = "application/x-www-form-urlencoded" if service == "iam" else "image/jpeg"
        connection.request(method, f"/{path}", body, {"Authorization": signed, "Content-Type": kind})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 300, said
        return said

    def put(self, key, data=b"picture"):
        """Writes an object."""
        self.ask("PUT", f"{self.name}/{key}", data)

    def fill(self, keys, data=b"picture"):
        """Writes many objects of the same bytes."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda key: self.put(key, data), keys))

    def delete(self, key):
        """Deletes an object."""
        self.ask("DELETE", f"{self.name}/{key}")


class Front(ThreadingHTTPServer):
    """Forwards requests to the server; `answer(path)` may return a status and bytes instead.

    `refuse(method, path)` may do the same, also for writing requests.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Passed)
        self.port, self.asked, self.seconds = port, [], 0.0
        self.answer = lambda path: None
        self.refuse = lambda method, path: None
        self.sent = 0  # bytes of answers
        self.in_progress = self.most_in_progress = 0  # requests
        self.counting = threading.Lock()


class Passed(BaseHTTPRequestHandler):
    """Handles one connection to the front."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        """Records method, path and range; then answers or forwards the request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, self.headers.get("Range")))
        with self.server.counting:
            self.server.in_progress += 1
            self.server.most_in_progress = max(self.server.most_in_progress, self.server.in_progress)
        try:
            time.sleep(self.server.seconds)
            self._answer_or_pass(body)
        finally:
            with self.server.counting:
                self.server.in_progress -= 1

    def _answer_or_pass(self, body):
        if answer := self.server.answer(self.path) or self.server.refuse(self.command, self.path):
            self._say(answer[0], {}, answer[1])
            return
        with closing(HTTPConnection("127.0.0.1", self.server.port, timeout=30)) as connection:
            connection.request(self.command, self.path, body or None, dict(self.headers))
            said = connection.getresponse()
            self._say(said.status, dict(said.headers), said.read())

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as http.server names it

    def _say(self, status, headers, body):
        self.send_response(status)
        kept = {name: value for name, value in headers.items() if name.lower() not in {"connection", "date", "server"}}
        for name, value in ({"Content-Length": str(len(body))} | kept).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.server.sent += len(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def s3():
    """The port of an S3 server that these tests alone use."""
    program = Path(sys.executable).with_name("moto_server")
    if not program.exists():
        pytest.skip("moto is not installed: `pip install 'moto[server]'`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + START_SECONDS
            while True:
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


BUCKETS = (f"bucket-{number}" for number in itertools.count(1))


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch):
    """An empty bucket, which this process may read by keys in its environment."""
    with Front(s3) as front:
        thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        environ = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{front.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "AKIATILEWISE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",  # no server there offers a role
        }
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        made = Bucket(next(BUCKETS), s3, front, environ)
        made.ask("PUT", made.name)
        try:
            yield made
        finally:
            front.shutdown()
            thread.join()


@pytest.fixture
def sign_in_to(monkeypatch, tmp_path):
    """Sets credentials of Azure (`az`) or Google (`gs`) for a server on this port."""

    def sign_in(kind, port):
        for name in [name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_"))]:
            monkeypatch.delenv(name)
        if kind == "az":
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
            monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
            return
        words = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        account = {"gcs_base_url": f"http://127.0.0.1:{port}", "disable_oauth": True, **words}
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
        monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")

    return sign_in


@pytest.fixture(scope="session")
def postgres():
    """Creates an empty PostgreSQL database per call and returns its URL; these tests alone use the server."""
    psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server program here: install Debian's `postgresql` to run this")
    names = (f"ledger_{number}" for number in itertools.count(1))
    with ExitStack() as stack:
        server = stack.enter_context(cluster(programs, psycopg))

        def fresh():
            name = next(names)
            with psycopg.connect(f"postgresql://{server}/postgres", autocommit=True) as connection:
                connection.execute(f"create database {name}")
            return f"postgresql+psycopg://{server}/{name}"

        yield fresh


def server_programs():
    """The folder of `initdb` and `postgres`, from the PATH or where Debian installs them; None without them."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *debian]
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def other_user():
    """Arguments of Popen that start a program as another user under root, as PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def cluster(programs, psycopg):
    """Runs a PostgreSQL server on the loopback address, without password and fsync; gives `user@host:port`."""
    with (
        tempfile.TemporaryDirectory(prefix="tilewise-postgres-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        runs_as = other_user()
        if runs_as:
            os.chown(folder, runs_as["user"], runs_as["group"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **runs_as}
        made = [
            programs / "initdb",
            "--pgdata=data",
            "--auth=trust",
            "--username=tilewise",
            "--encoding=UTF8",
            "--no-sync",
        ]
        subprocess.run(made, check=True, capture_output=True, timeout=START_SECONDS, **common)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = stack.enter_context((Path(folder) / "log").open("wb"))
        command = [programs / "postgres", "-D", "data", *options]
        with subprocess.Popen(command, stdout=log, stderr=log, **common) as process:
            try:
                server = f"tilewise@127.0.0.1:{port}"
                ready(process, Path(log.name), lambda: psycopg.connect(f"postgresql://{server}/postgres").close())
                yield server
            finally:
                process.send_signal(signal.SIGINT)  # fast: it closes open connections


def ready(process, log, connect):
    """Waits until the server accepts connections."""
    import psycopg  # noqa: PLC0415  an extra

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)


PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")  # PDF 1.7, 7.6.3.3
PAGE = "<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Contents {number} 0 R/Resources<</Font<</F 3 0 R>>>>{more}>>"


@pytest.fixture(scope="session")
def pdf():
    """Writes PDFs byte by byte."""
    pytest.importorskip("pypdfium2", reason="the extra `pdf` is not installed")
    return write_pdf


def write_pdf(*texts, box="0 0 595 842", more="", password=None, catalog="", objects=()):
    """The bytes of a PDF with one page per text, in 40 pt; a page whose text is None is missing.

    `more` is added to every page and `catalog` to the catalog; `objects` have the numbers from 4 on. With a password it
    is encrypted as in version 1.4: RC4 of 40 bits (algorithms 2, 3 and 4 of PDF 1.7, 7.6.3).
    """
    whole = [
        f"<</Type/Catalog/Pages 2 0 R{catalog}>>".encode(),
        b"",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    whole += objects
    key, trailer = None, "/Root 1 0 R"
    if password is not None:
        padded = (password.encode() + PADDING)[:32]
        owner = rc4(hashlib.md5(padded).digest()[:5], padded)
        key = hashlib.md5(padded + owner + b"\xff\xff\xff\xff" + b"id").digest()[:5]
        whole.append(f"<</Filter/Standard/V 1/R 2/P -1/O<{owner.hex()}>/U<{rc4(key, PADDING).hex()}>>>".encode())
        trailer += f"/Encrypt {len(whole)} 0 R/ID[<{b'id'.hex()}><{b'id'.hex()}>]"
    kids = []
    for text in texts:
        kids.append(f"{len(whole) + 1 if text is not None else 999} 0 R")
        if text is not None:
            whole.append(PAGE.format(box=box, number=len(whole) + 2, more=more).encode())
            drawn = f"BT /F 40 Tf 40 60 Td ({text}) Tj ET".encode()
            salt = (len(whole) + 1).to_bytes(3, "little") + b"\0\0"
            drawn = rc4(hashlib.md5(key + salt).digest()[:10], drawn) if key else drawn
            whole.append(b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn))
    whole[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>".encode()
    return number_objects(whole, trailer)


def number_objects(objects, trailer):
    """The objects of a PDF, followed by the table of their offsets."""
    data, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, b"".join(places))
    end = f"trailer<</Size {len(objects) + 1}{trailer}>>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + table + end.encode()


def rc4(key, data):
    """The RC4 cipher, which every PDF reader supports."""
    state, mixed = list(range(256)), 0
    for place in range(256):
        mixed = (mixed + state[place] + key[place % len(key)]) % 256
        state[place], state[mixed] = state[mixed], state[place]
    stream, mixed = bytearray(), 0
    for count, byte in enumerate(data, 1):
        place = count % 256
        mixed = (mixed + state[place]) % 256
        state[place], state[mixed] = state[mixed], state[place]
        stream.append(byte ^ state[(state[place] + state[mixed]) % 256])
    return bytes(stream)
