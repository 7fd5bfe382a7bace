"""A web server whose responses a test chooses, and stores that read from it."""

import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest

from extractors.scan.web.fetch import FetchLimits, NetworkEnvironment
from extractors.scan.web.store import WebStore

HOST = "images.test"  # what the stores of these tests may connect to, although it is this machine


@dataclass
class Page:
    """What the server says at one path. `ranges` and `head` are whether it knows Range and HEAD."""

    data: bytes = b"picture"
    status: int = 200
    headers: dict = field(default_factory=dict)
    etag: str | None = '"v1"'
    kind: str | None = "image/png"
    ranges: bool = True
    head: int = 200
    length: int | None = None  # what it says its length is, where that is not true

    def __call__(self, asked):
        """Answers."""
        if asked.command == "HEAD" and self.head != 200:
            return asked.say(self.head, {}, b"")
        if asked.headers.get("If-Match") not in {None, self.etag}:
            return asked.say(412, {}, b"")
        headers = {"ETag": self.etag, "Content-Type": self.kind, **self.headers}
        wanted = asked.headers.get("Range")
        if self.ranges and wanted and self.status == 200:
            start, end = map(int, wanted.removeprefix("bytes=").split("-"))
            if start >= len(self.data):
                return asked.say(416, {"Content-Range": f"bytes */{len(self.data)}"}, b"")
            part = self.data[start : end + 1]
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(self.data)}"
            return asked.say(206, headers, part)
        return asked.say(self.status, headers, self.data, self.length)


class Asked(BaseHTTPRequestHandler):
    """One connection; a page may also write to it whatever it likes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        """Notes the request and lets its page answer."""
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        self.server.connections.add(self.client_address)
        self.server.pages[self.path.partition("?")[0]](self)

    do_HEAD = do_GET  # noqa: N815 - as http.server names it

    def say(self, status, headers, body, length=None):
        """One answer; a header that is None is left out."""
        self.send_response(status)
        length = len(body) if length is None else length
        for name, value in ({"Content-Length": str(length)} | headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection |= length > len(body)

    def log_message(self, *args):
        pass


class Site(ThreadingHTTPServer):
    """The server: `pages` by path, and every request in `asked` as (method, path, headers)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address="127.0.0.1", trusted=None):
        super().__init__((address, 0), Asked)
        self.pages, self.asked, self.connections = {}, [], set()
        self.scheme = "http"
        if trusted:
            self.socket = trusted.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    def url(self, path="/a.png", host=HOST):
        """Where a page is."""
        return f"{self.scheme}://{host}:{self.server_port}{path}"

    @property
    def methods(self):
        """How it was asked, in order."""
        return [method for method, _, _ in self.asked]

    def handle_error(self, request, client_address):
        pass  # who hangs up on an answer is what some tests are about


@dataclass
class Outside:
    """Name servers, and the seconds that were slept instead of waiting."""

    hosts: dict = field(default_factory=lambda: {HOST: ["127.0.0.1"]})
    resolved: list = field(default_factory=list)
    slept: list = field(default_factory=list)

    def resolve(self, host, port, type=0):  # noqa: A002 - as getaddrinfo names it
        self.resolved.append(host)
        if host not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, type, 6, "", (address, port)) for address in self.hosts[host]]


@pytest.fixture
def sites():
    """Starts servers; they end with the test."""
    with ExitStack() as stack:

        def start(address="127.0.0.1", trusted=None):
            site = stack.enter_context(Site(address, trusted))
            thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(site.shutdown)
            return site

        yield start


@pytest.fixture
def site(sites):
    """A server with one image at /a.png."""
    started = sites()
    started.pages["/a.png"] = Page()
    return started


@pytest.fixture
def outside():
    """The world that stores see."""
    return Outside()


@pytest.fixture(scope="session")
def trusted():
    """The certificates that are believed everywhere, read once."""
    return httpcore.default_ssl_context()


@pytest.fixture
def stores(outside, trusted):
    """Makes stores, which are closed with the test."""
    with ExitStack() as stack:

        def make(allowed=(HOST,), patience=None, **world):
            known = NetworkEnvironment(resolve=outside.resolve, sleep=outside.slept.append, trust=lambda: trusted)
            seen = replace(known, **world)
            store = WebStore(allowed, patience or FetchLimits(), seen)
            stack.callback(store.close)
            return store

        yield make


@pytest.fixture
def store(stores):
    """A store that may connect to the server of these tests."""
    return stores()


@pytest.fixture
def page():
    """Makes pages."""
    return Page
