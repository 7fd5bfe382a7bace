"""scan/web/fetch.py, connect.py, target.py: blocked addresses, deadlines, redirects and credentials; over HTTP."""

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


def reading(store, url, act="read"):
    """What reading the image raises."""
    with pytest.raises(DocumentError) as raised:
        getattr(store, act)(Found(url))
    assert "\n" not in raised.value.message
    return raised.value


def redirect(location, status=302):
    """A page that leads elsewhere."""
    return lambda asked: asked.say(status, {"Location": location}, b"")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for `images.test` and its key, that nobody but these tests believes."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=images.test"
    command += " -addext subjectAltName=DNS:images.test -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def safe_site(sites, certificate, page):
    """A server that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    started = sites(trusted=context)
    started.pages["/a.png"] = page()
    return started


@pytest.fixture
def believing(stores, certificate):
    """A store that believes the certificate."""
    return stores(
        ["images.test", "other.test"],
        trust=lambda: ssl.create_default_context(cafile=certificate / "certificate.pem"),
    )


# --- addresses


@pytest.mark.parametrize("act", ["open", "read"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "images.test"],
)
def test_this_machine_is_not_connected_to(site, stores, outside, act, host):
    """However it is named, unless it is opened by name."""
    outside.hosts["localhost"] = ["127.0.0.1"]
    error = reading(stores(allowed=()), site.url(host=host), act)
    assert (error.kind, error.final) == ("blocked_address", False)
    assert "TILEWISE_ALLOW_HOSTS" in error.message
    assert site.asked == []


def test_an_address_that_is_refused_is_a_flaw(site, stores):
    """The run goes on."""
    flaw = stores(allowed=()).stat(Found(site.url())).problem
    assert (flaw.kind, flaw.stage, flaw.final) == ("blocked_address", "scan", False)


def test_a_name_with_one_address_inside_is_not_connected_to(site, stores, outside):
    """Not even at its public one."""
    outside.hosts["mixed.test"] = [PUBLIC, "127.0.0.1"]
    assert reading(stores(), site.url(host="mixed.test")).kind == "blocked_address"
    assert site.asked == []


class Recorded(httpcore.MockBackend):
    """A network that notes where it is to connect to, and connects nowhere."""

    def __init__(self):
        super().__init__([])
        self.connected = []

    def connect_tcp(self, host, port, *rest, **more):
        self.connected.append((host, port))
        return super().connect_tcp(host, port, *rest, **more)


@pytest.fixture
def rebound():
    """A network, and its guard, for which a name resolves to a public address once, and to this machine from then on."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])

    def resolve(host, port, type=0):  # noqa: A002 - as getaddrinfo names it
        return [(0, type, 6, "", (address, port)) for address in next(answers)]

    network = Recorded()
    return network, SsrfGuardBackend(frozenset(), resolve, network=network)


def test_what_was_checked_is_connected_to(rebound):
    """The name is not resolved a second time for it."""
    network, guarded = rebound
    guarded.connect_tcp("rebound.test", 80)
    assert network.connected == [(PUBLIC, 80)]


def test_each_connection_is_checked_anew(rebound):
    """A name that was public a moment ago is not trusted for it."""
    network, guarded = rebound
    guarded.connect_tcp("rebound.test", 80)
    with pytest.raises(DocumentError, match="loopback"):
        guarded.connect_tcp("rebound.test", 80)
    assert network.connected == [(PUBLIC, 80)]


def test_a_name_is_resolved_once_a_connection(site, store, outside):
    """What is asked for over the same connection goes where it went."""
    store.read(Found(site.url()))
    store.read(Found(site.url()))
    assert outside.resolved == ["images.test"]


def test_the_next_address_is_tried_where_the_first_does_not_answer(site, sites, stores, outside):
    """As any client does."""
    outside.hosts["images.test"] = ["127.0.0.9", "127.0.0.1"]
    assert stores().read(Found(site.url())) == b"picture"


def test_proxies_of_the_environment_are_not_used(site, store, monkeypatch):
    """One would connect to whatever it is told."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert store.read(Found(site.url())) == b"picture"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://images.test/a.png", "gopher://images.test/", "ws://images.test/"]
)
def test_only_http_and_https_are_fetched(store, url):
    """A manifest may name anything."""
    error = reading(store, url)
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
def test_what_is_no_url_is_said(store, url):
    """It stays wrong."""
    error = reading(store, url)
    assert (error.kind, error.final) == ("unreadable", True)


# --- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(site, store, status):
    """The method stays."""
    site.pages["/old.png"] = redirect("a.png", status)
    assert store.read(Found(site.url("/old.png"))) == b"picture"
    assert store.stat(Found(site.url("/old.png"))).size == 7
    assert site.methods == ["GET", "GET", "HEAD", "HEAD"]


def test_a_redirect_may_hold_any_letters(site, store, page):
    """Also those that should have been encoded."""
    site.pages["/old.png"] = redirect("/\u00fc \u00df.png".encode().decode("latin-1"))
    site.pages["/%C3%BC%20%C3%9F.png"] = page()
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
def test_a_redirect_is_checked_as_the_first_address_is(site, store, outside, location, kind):
    """It is another's choice."""
    outside.hosts["inside.test"] = ["10.0.0.1"]
    site.pages["/old.png"] = redirect(location.format(port=site.server_port))
    assert reading(store, site.url("/old.png")).kind == kind
    assert [path for _, path, _ in site.asked] == ["/old.png"]


@pytest.mark.parametrize("hops", [5, 6, 100])
def test_redirects_end(site, store, hops):
    """Five are followed, and no more."""
    for hop in range(1, hops + 1):
        site.pages[f"/{hop}"] = redirect(f"/{hop - 1}" if hop > 1 else "/a.png")
    try:
        assert store.read(Found(site.url(f"/{hops}"))) == b"picture"
    except DocumentError as error:
        assert "redirects after 5 redirects" in error.message  # noqa: PT017 - five hops do not raise
        assert hops > 5
    assert len(site.asked) == 6


def test_a_password_goes_to_its_own_origin_only(site, sites, stores, outside, page):
    """A redirect within it keeps it, one elsewhere loses it; what a redirect brings along is left out."""
    outside.hosts["other.test"] = ["127.0.0.1"]
    other = sites()
    other.pages["/b.png"] = page()
    site.pages["/old.png"] = redirect("/older.png")
    site.pages["/older.png"] = redirect(f"http://they:guess@other.test:{other.server_port}/b.png")
    store = stores(["images.test", "other.test"])
    address = SecretStr(site.url("/old.png", host="me:ge%40heim@images.test"))
    assert store.read(Found(site.url("/old.png"), address=address)) == b"picture"
    assert [headers.get("Authorization") for _, _, headers in site.asked] == ["Basic bWU6Z2VAaGVpbQ=="] * 2
    assert "Authorization" not in other.asked[0][2]


def test_the_same_host_at_another_port_is_another_origin(site, sites, store, page):
    """It may be another's server."""
    other = sites()
    other.pages["/b.png"] = page()
    site.pages["/old.png"] = redirect(other.url("/b.png"))
    assert store.read(Found(site.url("/old.png", host="me:geheim@images.test"))) == b"picture"
    assert "Authorization" not in other.asked[0][2]


# --- TLS


def test_a_certificate_is_checked_against_the_host(safe_site, believing, outside):
    """The name in the URL, although an address is connected to."""
    assert believing.read(Found(safe_site.url())) == b"picture"
    outside.hosts["other.test"] = ["127.0.0.1"]
    error = reading(believing, safe_site.url(host="other.test"))
    assert error.kind == "unreadable"
    assert "certificate" in error.message
    assert outside.slept == []


def test_a_certificate_that_nobody_vouches_for_is_refused(safe_site, store):
    """Once: another try would not make it better."""
    error = reading(store, safe_site.url())
    assert (error.kind, error.final) == ("unreadable", False)
    assert "certificate verify failed" in error.message
    assert safe_site.asked == []


def test_a_redirect_from_https_to_http_is_refused(safe_site, site, believing):
    """What was asked for in private is not answered in public."""
    safe_site.pages["/old.png"] = redirect(site.url())
    error = reading(believing, safe_site.url("/old.png"))
    assert error.kind == "blocked_address"
    assert "from https to http" in error.message
    assert site.asked == []


def test_a_redirect_from_http_to_https_is_followed(safe_site, site, believing):
    """That is what most are for."""
    site.pages["/old.png"] = redirect(safe_site.url())
    assert believing.read(Found(site.url("/old.png"))) == b"picture"


# --- time and size


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"])
def test_a_server_that_drips_is_left(site, stores, head):
    """Each byte comes in time, all of them do not: in the headers, and behind them."""

    def drip(asked):
        asked.wfile.write(head)
        for _ in range(300):
            asked.wfile.write(b"x")
            time.sleep(0.01)

    site.pages["/a.png"] = drip
    began = time.monotonic()
    error = reading(stores(patience=FetchLimits(seconds=0.3)), site.url())
    assert (error.kind, error.final) == ("unreadable", False)
    assert error.message.endswith("it took longer than 0.3 s")
    assert time.monotonic() - began < 2


def test_a_minute_is_the_limit(site, stores):
    """By the clock, however much comes."""
    ticks = count(0, 7)

    def endless(asked):
        asked.wfile.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\n\r\n")
        for _ in range(1000):
            asked.wfile.write(bytes(2**16))

    site.pages["/a.png"] = endless
    error = reading(stores(clock=lambda: next(ticks)), site.url())
    assert error.message.endswith("it took longer than 60 s")


def test_more_bytes_than_a_picture_may_have_are_not_read(site, stores, page):
    """Neither those that are said, nor those that come unsaid."""
    store = stores(patience=FetchLimits(bytes=1000))
    site.pages["/a.png"] = page(bytes(1001))
    site.pages["/b.png"] = lambda asked: asked.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(100_000))
    assert reading(store, site.url()).kind == "too_many_bytes"
    assert reading(store, site.url("/b.png")).kind == "too_many_bytes"
    assert reading(store, site.url("/b.png"), "open").kind == "too_many_bytes"
    with pytest.raises(DocumentError, match="2,000 bytes are over the limit of 1,000"):
        store.read(Found(site.url(), size=2000))


@pytest.mark.parametrize("act", ["open", "read"])
def test_what_is_packed_is_not_unpacked(site, store, page, act):
    """Nobody asked for it, and a few bytes may become any number."""
    site.pages["/a.png"] = page(gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"}, ranges=False)
    error = reading(store, site.url(), act)
    assert error.kind == "unreadable"
    assert error.message.endswith("the server sent it encoded as gzip")
    assert store.stat(Found(site.url())).problem.kind == "unreadable"


@pytest.mark.parametrize("encoding", ["identity", "none", "aws-chunked"])
def test_words_that_pack_nothing_are_passed_over(site, store, page, encoding):
    """The bytes are as they are."""
    site.pages["/a.png"] = page(headers={"Content-Encoding": encoding})
    assert store.read(store.stat(Found(site.url()))) == b"picture"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000,
    ],
)
def test_what_is_not_http_is_said(site, store, said):
    """In words of our own: the server's may echo the URL."""

    def answer(asked):
        asked.wfile.write(said)
        asked.close_connection = True

    site.pages["/a.png"] = answer
    error = reading(store, site.url())
    assert (error.kind, error.final) == ("unreadable", False)


# --- secrets


@pytest.mark.parametrize("act", ["open", "read"])
@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 412, 500, 999])
def test_no_message_and_no_log_holds_a_signature(site, stores, page, caplog, act, status):
    """Also where the server echoes the URL, and a redirect leads to a signed one."""
    secret = "X-Amz-Signature=geheim"

    def echo(asked):
        asked.send_response(status, f"no {asked.path}")
        asked.send_header("Location", f"http://10.0.0.1/b.png?{secret}")
        asked.send_header("Content-Encoding", asked.path)
        asked.send_header("Content-Type", asked.path)
        asked.send_header("Content-Length", "0")
        asked.end_headers()

    site.pages["/a.png"] = echo
    caplog.set_level(logging.DEBUG)
    found = Found(site.url(), address=SecretStr(site.url(f"/a.png?{secret}", host="me:geheim@images.test")))
    store = stores()
    with pytest.raises(DocumentError) as raised:
        getattr(store, act)(found)
    flaw = store.stat(found).problem
    assert site.asked[0][1].endswith(secret)
    assert "geheim" not in raised.value.message + repr(raised.value) + flaw.message + caplog.text + repr(found)
