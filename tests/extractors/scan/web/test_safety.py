"""scan/web/fetch.py, connect.py, target.py: blocked addresses, time limits, redirects and credentials, over HTTP."""

import gzip
import logging
import shutil
import ssl
import subprocess
import time
from itertools import count

import httpcore
import pytest
from pydantic import SecretStr

from extractors.core import Found
from extractors.core.errors import DocumentError
from extractors.scan.web.connect import SsrfGuardBackend
from extractors.scan.web.fetch import FetchLimits

PUBLIC = "93.184.216.34"


def read_error(store, url, method="read"):
    """Return the error that reading the image raises."""
    with pytest.raises(DocumentError) as raised:
        getattr(store, method)(Found(url))
    assert "\n" not in raised.value.message
    return raised.value


def redirect(location, status=302):
    """Build a page that redirects."""
    return lambda request: request.respond(status, {"Location": location}, b"")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for `images.test` and its key, trusted by these tests only."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=images.test"
    command += " -addext subjectAltName=DNS:images.test -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_site(start_site, certificate, build_page):
    """A server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    site = start_site(context=context)
    site.pages["/a.png"] = build_page()
    return site


@pytest.fixture
def trusting_store(create_store, certificate):
    """A store that trusts the certificate."""
    return create_store(
        ["images.test", "other.test"],
        trust=lambda: ssl.create_default_context(cafile=certificate / "certificate.pem"),
    )


@pytest.mark.parametrize("method", ["open", "read"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "images.test"],
)
def test_store_does_not_connect_to_this_machine_unless_allowed(site, create_store, network, method, host):
    """This holds for any notation of its address."""
    network.hosts["localhost"] = ["127.0.0.1"]
    error = read_error(create_store(allowed=()), site.url(host=host), method)
    assert (error.kind, error.final) == ("blocked_address", False)
    assert "TILEWISE_ALLOW_HOSTS" in error.message
    assert site.requests == []


def test_stat_of_a_blocked_address_is_a_problem(site, create_store):
    problem = create_store(allowed=()).stat(Found(site.url())).problem
    assert (problem.kind, problem.stage, problem.final) == ("blocked_address", "scan", False)


def test_store_does_not_connect_to_a_host_with_one_private_address(site, create_store, network):
    """It does not connect to its public address either."""
    network.hosts["mixed.test"] = [PUBLIC, "127.0.0.1"]
    assert read_error(create_store(), site.url(host="mixed.test")).kind == "blocked_address"
    assert site.requests == []


class RecordingNetwork(httpcore.MockBackend):
    """A network that records connections and opens none."""

    def __init__(self):
        super().__init__([])
        self.connections = []

    def connect_tcp(self, host, port, *rest, **more):
        self.connections.append((host, port))
        return super().connect_tcp(host, port, *rest, **more)


@pytest.fixture
def rebinding_network():
    """A network and its guard; a name resolves to a public address first, and to this machine later."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])

    def resolve(host, port, type=0):  # noqa: A002 - as getaddrinfo names it
        return [(0, type, 6, "", (address, port)) for address in next(answers)]

    recorder = RecordingNetwork()
    return recorder, SsrfGuardBackend(frozenset(), resolve, network=recorder)


def test_guard_connects_to_the_address_that_it_checked(rebinding_network):
    """It does not resolve the name a second time."""
    recorder, guard = rebinding_network
    guard.connect_tcp("rebound.test", 80)
    assert recorder.connections == [(PUBLIC, 80)]


def test_guard_checks_each_connection(rebinding_network):
    recorder, guard = rebinding_network
    guard.connect_tcp("rebound.test", 80)
    with pytest.raises(DocumentError, match="loopback"):
        guard.connect_tcp("rebound.test", 80)
    assert recorder.connections == [(PUBLIC, 80)]


def test_name_is_resolved_once_per_connection(site, store, network):
    store.read(Found(site.url()))
    store.read(Found(site.url()))
    assert network.lookups == ["images.test"]


def test_store_tries_the_next_address_when_the_first_fails(site, start_site, create_store, network):
    network.hosts["images.test"] = ["127.0.0.9", "127.0.0.1"]
    assert create_store().read(Found(site.url())) == b"picture"


def test_store_ignores_proxies_of_the_environment(site, store, monkeypatch):
    """A proxy would connect to blocked addresses."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert store.read(Found(site.url())) == b"picture"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://images.test/a.png", "gopher://images.test/", "ws://images.test/"]
)
def test_store_refuses_schemes_other_than_http_and_https(store, url):
    error = read_error(store, url)
    assert error.kind == "blocked_address"
    assert "only http and https" in error.message


@pytest.mark.parametrize(
    "url",
    [
        "images.test/a.png",
        "http://",
        "http:///a.png",
        "http://images.test:0/",
        "http://images.test:x/",
        f"http://images.test:{'9' * 5000}/",
        "http://[::1/",
    ],
)
def test_store_refuses_an_invalid_url(store, url):
    """The error is final."""
    error = read_error(store, url)
    assert (error.kind, error.final) == ("unreadable", True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed_with_the_same_method(site, store, status):
    site.pages["/old.png"] = redirect("a.png", status)
    assert store.read(Found(site.url("/old.png"))) == b"picture"
    assert store.stat(Found(site.url("/old.png"))).size == 7
    assert site.methods == ["GET", "GET", "HEAD", "HEAD"]


def test_redirect_may_contain_unencoded_letters(site, store, build_page):
    site.pages["/old.png"] = redirect("/\u00fc \u00df.png".encode().decode("latin-1"))
    site.pages["/%C3%BC%20%C3%9F.png"] = build_page()
    assert store.read(Found(site.url("/old.png"))) == b"picture"


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("http://127.0.0.1:{port}/a.png", "blocked_address"),
        ("//127.0.0.1:{port}/a.png", "blocked_address"),
        ("http://2130706433:{port}/a.png", "blocked_address"),
        ("http://inside.test:{port}/a.png", "blocked_address"),
        ("http://[::1]:{port}/a.png", "blocked_address"),
        ("http://169.254.169.254/latest/meta-data/", "blocked_address"),
        ("http://images.test@127.0.0.1:{port}/a.png", "blocked_address"),
        ("file:///etc/passwd", "blocked_address"),
        ("file:/etc/passwd", "blocked_address"),
        ("ftp://images.test/a.png", "blocked_address"),
        ("data:image/png;base64,AAAA", "blocked_address"),
        ("javascript:alert(1)", "blocked_address"),
        ("http://images.test\\@127.0.0.1:{port}/a.png", "unreadable"),
        ("http://127.0.0.1:{port}\\@images.test/a.png", "unreadable"),
        ("http://[::1", "unreadable"),
        ("http://%zz/", "unreadable"),
    ],
)
def test_redirect_to_a_blocked_address_is_refused(site, store, network, location, kind):
    """Each redirect is checked like the first address."""
    network.hosts["inside.test"] = ["10.0.0.1"]
    site.pages["/old.png"] = redirect(location.format(port=site.server_port))
    assert read_error(store, site.url("/old.png")).kind == kind
    assert [path for _, path, _ in site.requests] == ["/old.png"]


@pytest.mark.parametrize("hops", [5, 6, 100])
def test_sixth_redirect_is_refused(site, store, hops):
    for hop in range(1, hops + 1):
        site.pages[f"/{hop}"] = redirect(f"/{hop - 1}" if hop > 1 else "/a.png")
    try:
        assert store.read(Found(site.url(f"/{hops}"))) == b"picture"
    except DocumentError as error:
        assert "redirects after 5 redirects" in error.message  # noqa: PT017 - five hops do not raise
        assert hops > 5
    assert len(site.requests) == 6


def test_password_is_sent_to_its_own_origin_only(site, start_site, create_store, network, build_page):
    """A redirect within the origin keeps it, one elsewhere drops it; credentials in a redirect are ignored."""
    network.hosts["other.test"] = ["127.0.0.1"]
    other = start_site()
    other.pages["/b.png"] = build_page()
    site.pages["/old.png"] = redirect("/older.png")
    site.pages["/older.png"] = redirect(f"http://they:guess@other.test:{other.server_port}/b.png")
    store = create_store(["images.test", "other.test"])
    address = SecretStr(site.url("/old.png", host="me:ge%40heim@images.test"))
    assert store.read(Found(site.url("/old.png"), address=address)) == b"picture"
    assert [headers.get("Authorization") for _, _, headers in site.requests] == ["Basic bWU6Z2VAaGVpbQ=="] * 2
    assert "Authorization" not in other.requests[0][2]


def test_password_is_not_sent_to_another_port(site, start_site, store, build_page):
    other = start_site()
    other.pages["/b.png"] = build_page()
    site.pages["/old.png"] = redirect(other.url("/b.png"))
    assert store.read(Found(site.url("/old.png", host="me:geheim@images.test"))) == b"picture"
    assert "Authorization" not in other.requests[0][2]


def test_certificate_is_checked_against_the_host_of_the_url(tls_site, trusting_store, network):
    """The connection itself is made to an address."""
    assert trusting_store.read(Found(tls_site.url())) == b"picture"
    network.hosts["other.test"] = ["127.0.0.1"]
    error = read_error(trusting_store, tls_site.url(host="other.test"))
    assert error.kind == "unreadable"
    assert "certificate" in error.message
    assert network.waits == []


def test_untrusted_certificate_is_refused_without_a_retry(tls_site, store):
    error = read_error(store, tls_site.url())
    assert (error.kind, error.final) == ("unreadable", False)
    assert "certificate verify failed" in error.message
    assert tls_site.requests == []


def test_redirect_from_https_to_http_is_refused(tls_site, site, trusting_store):
    tls_site.pages["/old.png"] = redirect(site.url())
    error = read_error(trusting_store, tls_site.url("/old.png"))
    assert error.kind == "blocked_address"
    assert "from https to http" in error.message
    assert site.requests == []


def test_redirect_from_http_to_https_is_followed(tls_site, site, trusting_store):
    site.pages["/old.png"] = redirect(tls_site.url())
    assert trusting_store.read(Found(site.url("/old.png"))) == b"picture"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"])
def test_time_limit_ends_a_slow_response(site, create_store, head):
    """No single read times out; the bytes drip in the headers or in the body."""

    def drip(request):
        request.wfile.write(head)
        for _ in range(300):
            request.wfile.write(b"x")
            time.sleep(0.01)

    site.pages["/a.png"] = drip
    error = read_error(create_store(limits=FetchLimits(seconds=0.3)), site.url())
    assert (error.kind, error.final) == ("unreadable", False)
    assert error.message.endswith("it took longer than 0.3 s")


def test_time_limit_is_60_seconds_by_default(site, create_store):
    """It holds for a fast response, too."""
    ticks = count(0, 7)

    def endless(request):
        request.wfile.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\n\r\n")
        for _ in range(1000):
            request.wfile.write(bytes(2**16))

    site.pages["/a.png"] = endless
    error = read_error(create_store(clock=lambda: next(ticks)), site.url())
    assert error.message.endswith("it took longer than 60 s")


def test_store_refuses_more_bytes_than_the_limit(site, create_store, build_page):
    """The length may be announced or not."""
    store = create_store(limits=FetchLimits(bytes=1000))
    site.pages["/a.png"] = build_page(bytes(1001))
    site.pages["/b.png"] = lambda request: request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(100_000))
    assert read_error(store, site.url()).kind == "too_many_bytes"
    assert read_error(store, site.url("/b.png")).kind == "too_many_bytes"
    assert read_error(store, site.url("/b.png"), "open").kind == "too_many_bytes"
    with pytest.raises(DocumentError, match="2,000 bytes are over the limit of 1,000"):
        store.read(Found(site.url(), size=2000))


@pytest.mark.parametrize("method", ["open", "read"])
def test_store_refuses_a_compressed_response(site, store, build_page, method):
    """It was not requested, and a few bytes may expand to any size."""
    site.pages["/a.png"] = build_page(
        gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"}, ranges=False
    )
    error = read_error(store, site.url(), method)
    assert error.kind == "unreadable"
    assert error.message.endswith("the server sent it encoded as gzip")
    assert store.stat(Found(site.url())).problem.kind == "unreadable"


@pytest.mark.parametrize("encoding", ["identity", "none", "aws-chunked"])
def test_store_ignores_content_encodings_that_change_nothing(site, store, build_page, encoding):
    site.pages["/a.png"] = build_page(headers={"Content-Encoding": encoding})
    assert store.read(store.stat(Found(site.url()))) == b"picture"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000,
    ],
)
def test_store_refuses_an_invalid_http_response(site, store, response):
    """The message does not repeat the response, which may contain the URL."""

    def answer(request):
        request.wfile.write(response)
        request.close_connection = True

    site.pages["/a.png"] = answer
    error = read_error(store, site.url())
    assert (error.kind, error.final) == ("unreadable", False)


@pytest.mark.parametrize("method", ["open", "read"])
@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 412, 500, 999])
def test_messages_and_logs_contain_no_signature(site, create_store, build_page, caplog, method, status):
    """The server may echo the URL or redirect to a signed one."""
    secret = "X-Amz-Signature=geheim"

    def echo(request):
        request.send_response(status, f"no {request.path}")
        request.send_header("Location", f"http://10.0.0.1/b.png?{secret}")
        request.send_header("Content-Encoding", request.path)
        request.send_header("Content-Type", request.path)
        request.send_header("Content-Length", "0")
        request.end_headers()

    site.pages["/a.png"] = echo
    caplog.set_level(logging.DEBUG)
    found = Found(site.url(), address=SecretStr(site.url(f"/a.png?{secret}", host="me:geheim@images.test")))
    store = create_store()
    with pytest.raises(DocumentError) as raised:
        getattr(store, method)(found)
    problem = store.stat(found).problem
    assert site.requests[0][1].endswith(secret)
    assert "geheim" not in raised.value.message + repr(raised.value) + problem.message + caplog.text + repr(found)
