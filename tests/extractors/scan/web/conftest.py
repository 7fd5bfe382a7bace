"""A web server whose responses a test sets, and stores that read from it."""

import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest

from extractors.scan.web.fetch import FetchLimits, NetworkEnvironment
from extractors.scan.web.store import WebStore

HOST = "images.test"  # the stores of these tests may connect to it, although it is this machine


@dataclass
class Page:
    """The response of the server at one path. `ranges` and `head` are whether it supports Range and HEAD."""

    data: bytes = b"picture"
    status: int = 200
    headers: dict = field(default_factory=dict)
    etag: str | None = '"v1"'
    kind: str | None = "image/png"
    ranges: bool = True
    head: int = 200
    length: int | None = None  # the Content-Length that it sends, where that is wrong

    def __call__(self, request):
        """Answer a request."""
        if request.command == "HEAD" and self.head != 200:
            return request.respond(self.head, {}, b"")
        if request.headers.get("If-Match") not in {None, self.etag}:
            return request.respond(412, {}, b"")
        headers = {"ETag": self.etag, "Content-Type": self.kind, **self.headers}
        range_header = request.headers.get("Range")
        if self.ranges and range_header and self.status == 200:
            start, end = map(int, range_header.removeprefix("bytes=").split("-"))
            if start >= len(self.data):
                return request.respond(416, {"Content-Range": f"bytes */{len(self.data)}"}, b"")
            data = self.data[start : end + 1]
            headers["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/{len(self.data)}"
            return request.respond(206, headers, data)
        return request.respond(self.status, headers, self.data, self.length)


class RequestHandler(BaseHTTPRequestHandler):
    """One connection; a page may write any bytes to it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        """Record the request and let its page answer."""
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        self.server.connections.add(self.client_address)
        self.server.pages[self.path.partition("?")[0]](self)

    do_HEAD = do_GET  # noqa: N815 - as http.server names it

    def respond(self, status, headers, body, length=None):
        """Send one response; a header that is None is omitted."""
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
    """The server: `pages` by path, and all `requests` as (method, path, headers)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address="127.0.0.1", context=None):
        super().__init__((address, 0), RequestHandler)
        self.pages, self.requests, self.connections = {}, [], set()
        self.scheme = "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    def url(self, path="/a.png", host=HOST):
        """Return the URL of a page."""
        return f"{self.scheme}://{host}:{self.server_port}{path}"

    @property
    def methods(self):
        """The methods of all requests, in order."""
        return [method for method, _, _ in self.requests]

    def handle_error(self, request, client_address):
        pass  # some tests close the connection within a response


@dataclass
class FakeNetwork:
    """Name servers, and the seconds of each wait instead of the wait."""

    hosts: dict = field(default_factory=lambda: {HOST: ["127.0.0.1"]})
    lookups: list = field(default_factory=list)
    waits: list = field(default_factory=list)

    def resolve(self, host, port, type=0):  # noqa: A002 - as getaddrinfo names it
        self.lookups.append(host)
        if host not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, type, 6, "", (address, port)) for address in self.hosts[host]]


@pytest.fixture
def start_site():
    """Start servers; they stop at the end of the test."""
    with ExitStack() as stack:

        def start(address="127.0.0.1", context=None):
            site = stack.enter_context(Site(address, context))
            thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(site.shutdown)
            return site

        yield start


@pytest.fixture
def site(start_site):
    """A server with one image at /a.png."""
    site = start_site()
    site.pages["/a.png"] = Page()
    return site


@pytest.fixture
def network():
    """The network of the stores."""
    return FakeNetwork()


@pytest.fixture(scope="session")
def tls_context():
    """The default certificates, read once."""
    return httpcore.default_ssl_context()


@pytest.fixture
def create_store(network, tls_context):
    """Create stores, which are closed at the end of the test."""
    with ExitStack() as stack:

        def create(allowed=(HOST,), limits=None, **changes):
            defaults = NetworkEnvironment(
                resolve=network.resolve, sleep=network.waits.append, trust=lambda: tls_context
            )
            environment = replace(defaults, **changes)
            store = WebStore(allowed, limits or FetchLimits(), environment)
            stack.callback(store.close)
            return store

        yield create


@pytest.fixture
def store(create_store):
    """A store that may connect to the server of these tests."""
    return create_store()


@pytest.fixture
def build_page():
    """Build pages."""
    return Page
