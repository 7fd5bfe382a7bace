"""scan/web/store.py: metadata and bytes of images at URLs, over HTTP."""

import io
import random
from datetime import UTC, datetime

import pytest
from PIL import Image
from pydantic import SecretStr

from extractors.bill import read_pages
from extractors.core import Found
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.images.limits import MAX_BYTES
from extractors.scan.web.fetch import FetchLimits

MODIFIED = {"Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
LONG = random.Random(7).randbytes(500_000)


def find_image(site, path="/a.png"):
    """Return the image at a path, without its status."""
    return Found(site.url(path))


def read_error(store, found, method="read"):
    """Return the error that reading the image raises."""
    with pytest.raises(DocumentError) as raised:
        getattr(store, method)(found)
    assert "\n" not in raised.value.message
    assert raised.value.stage == "scan"
    return raised.value


def stat_problem(store, site):
    """Return the problem that `stat` finds."""
    return store.stat(find_image(site)).problem


def answer_in_turn(*pages):
    """Build a page that answers each request by the next page."""
    remaining = list(pages)

    def answer(request):
        remaining.pop(0)(request)

    return answer


def answer_in_chunks(request, data=b"picture"):
    """Answer without a Content-Length."""
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for part in (data[:3], data[3:], b""):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))


def test_stat_returns_size_etag_and_time(site, store, build_page):
    """One HEAD request is enough."""
    site.pages["/a.png"] = build_page(headers=MODIFIED)
    found = store.stat(find_image(site))
    assert (found.uri, found.size, found.version) == (site.url(), 7, '"v1"')
    assert found.modified == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert found.problem is None
    assert site.methods == ["HEAD"]


@pytest.mark.parametrize(
    ("etag", "headers", "version"),
    [
        ('W/"v1"', MODIFIED, 'W/"v1"'),
        (None, MODIFIED, "7-2026-11-21T10:00:00+00:00"),
        (None, {}, None),
        (None, {"Last-Modified": "yesterday"}, None),
    ],
)
def test_version_is_the_etag_or_size_and_time(site, store, build_page, etag, headers, version):
    """Without either there is no version."""
    site.pages["/a.png"] = build_page(etag=etag, headers=headers)
    assert store.stat(find_image(site)).version == version


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501])
def test_stat_requests_one_byte_where_head_is_refused(site, store, build_page, status):
    """The response has the same metadata."""
    site.pages["/a.png"] = build_page(LONG, head=status)
    found = store.stat(find_image(site))
    assert (found.size, found.version, found.problem) == (len(LONG), '"v1"', None)
    assert site.methods == ["HEAD", "GET"]
    assert site.requests[1][2]["Range"] == "bytes=0-0"


def test_stat_reads_the_size_of_a_server_without_head_and_range(site, store, build_page):
    site.pages["/a.png"] = build_page(LONG, head=405, ranges=False)
    assert store.stat(find_image(site)).size == len(LONG)


@pytest.mark.parametrize("headers", [{"Content-Length": None}, {"Content-Length": "0"}])
def test_stat_requests_one_byte_where_head_has_no_size(site, store, build_page, headers):
    """Some frameworks answer HEAD without a length, or with 0."""
    get = build_page(LONG)
    site.pages["/a.png"] = lambda request: (
        request.respond(200, headers, b"") if request.command == "HEAD" else get(request)
    )
    assert store.stat(find_image(site)).size == len(LONG)


@pytest.mark.parametrize("ranges", [True, False])
def test_stat_of_an_empty_file_has_size_0(site, store, build_page, ranges):
    """Billing reports the problem."""
    site.pages["/a.png"] = build_page(b"", ranges=ranges)
    assert store.stat(find_image(site)).size == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, "missing"),
        (410, "missing"),
        (401, "forbidden"),
        (403, "forbidden"),
        (407, "forbidden"),
        (400, "unreadable"),
    ],
)
def test_stat_of_a_refused_url_is_a_problem(site, store, build_page, status, kind):
    """The problem is not final: the next run retries it."""
    site.pages["/a.png"] = build_page(status=status)
    problem = stat_problem(store, site)
    assert (problem.kind, problem.stage, problem.final) == (kind, "scan", False)
    assert problem.message.startswith(f"{site.url()} cannot be read: the server returned {status} ")


def test_stat_of_a_length_over_the_limit_is_a_problem(site, store, build_page):
    site.pages["/a.png"] = build_page(b"", length=MAX_BYTES + 1)
    assert (stat_problem(store, site).kind, stat_problem(store, site).final) == ("too_many_bytes", False)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "video/mp4"])
def test_stat_of_another_content_type_is_a_problem(site, store, build_page, kind):
    """The problem is not final: a login page may be replaced by the image."""
    site.pages["/a.png"] = build_page(kind=kind)
    problem = stat_problem(store, site)
    assert (problem.kind, problem.final) == ("not_an_image", False)
    assert problem.message.endswith(f"is not an image: the server sent content type {kind.partition(';')[0]}")


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "IMAGE/PNG", "application/octet-stream", "binary/octet-stream", "application/pdf", None]
)
def test_stat_accepts_content_types_that_may_be_images(site, store, build_page, kind):
    """Many servers send only a generic type."""
    site.pages["/a.png"] = build_page(kind=kind)
    assert stat_problem(store, site) is None


def test_stat_of_a_video_has_no_byte_limit(site, store, build_page):
    """A video is passed on and not fetched."""
    site.pages["/a.png"] = build_page(b"", length=MAX_BYTES + 1, kind="video/mp4")
    found = store.stat(Found(site.url(), video=True))
    assert (found.size, found.problem) == (MAX_BYTES + 1, None)


def test_stat_of_a_known_image_sends_no_request(site, store):
    found = store.stat(find_image(site))
    assert store.stat(found) is found
    assert len(site.requests) == 1


def test_store_requests_the_signed_url_and_reports_the_redacted_one(site, store, build_page):
    site.pages["/a.png"] = build_page(status=403)
    signed = SecretStr(site.url("/a.png?id=1&X-Amz-Signature=geheim"))
    found = store.stat(Found(site.url("/a.png?id=1"), address=signed))
    assert site.requests[0][1] == "/a.png?id=1&X-Amz-Signature=geheim"
    assert "geheim" not in repr(found)
    assert "/a.png?id=1 cannot be read" in found.problem.message


def test_link_is_the_signed_url(site, store):
    """The server that it is passed to needs the signature."""
    signed = site.url("/a.png?X-Amz-Signature=geheim")
    assert store.link(Found(site.url(), address=SecretStr(signed))) == signed
    assert store.link(Found(site.url())) == site.url()
    assert read_error(store, Found("file:///etc/passwd"), "link").kind == "blocked_address"


def test_stream_fetches_only_the_blocks_that_are_read(site, store, build_page):
    """A header costs one request of 64 KiB."""
    site.pages["/a.png"] = build_page(LONG)
    stream = store.open(store.stat(find_image(site)))
    assert stream.read(100) == LONG[:100]
    stream.seek(-50, io.SEEK_END)
    assert stream.read() == LONG[-50:]
    assert [headers.get("Range") for _, _, headers in site.requests] == [None, "bytes=0-65535", "bytes=458752-499999"]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("data", [b"p", LONG[:65_536], LONG[:65_537], LONG], ids=len)
def test_stream_returns_all_bytes_with_and_without_range(site, store, build_page, ranges, data):
    site.pages["/a.png"] = build_page(data, ranges=ranges)
    stream = store.open(find_image(site))
    assert b"".join(iter(lambda: stream.read(50_000), b"")) == data


def test_stream_stops_reading_a_server_that_ignores_range(site, store):
    """The bytes before the end of the block are kept."""
    sent_blocks = []

    def endless(request):
        request.send_response(200)
        request.send_header("Content-Length", str(200 * 2**20))
        request.end_headers()
        for number in range(3200):
            request.wfile.write(bytes(2**16))
            sent_blocks.append(number)

    site.pages["/a.png"] = endless
    assert store.open(find_image(site)).read(10) == bytes(10)
    assert len(sent_blocks) < 1000


def test_stream_keeps_the_bytes_of_a_server_that_ignores_range(site, store, build_page):
    """Seeking back sends no request."""
    site.pages["/a.png"] = build_page(LONG, ranges=False)
    stream = store.open(find_image(site))
    stream.seek(-10, io.SEEK_END)
    assert stream.read() == LONG[-10:]
    stream.seek(0)
    assert stream.read() == LONG
    assert len(site.requests) == 2


def test_stream_without_a_length_is_read_to_its_end(site, store):
    site.pages["/a.png"] = answer_in_chunks
    stream = store.open(find_image(site))
    stream.seek(-3, io.SEEK_END)
    assert stream.read() == b"ure"


def test_stream_refuses_a_version_that_changed_meanwhile(site, store, build_page):
    """This holds where no version was known before, too."""
    site.pages["/a.png"] = build_page(LONG)
    stream = store.open(find_image(site))
    site.pages["/a.png"] = build_page(LONG, etag='"v2"')
    stream.seek(-10, io.SEEK_END)
    with pytest.raises(DocumentError, match="changed since it was listed"):
        stream.read()


@pytest.mark.parametrize(
    ("content_range", "body"),
    [
        ("bytes 0-6/500", b"picture"),  # fewer bytes than requested
        ("bytes 10-500/500", b"picture"),
        ("bytes 1-7/7", b"picture"),
        ("bytes 0-6/7", b"pict"),
        ("items 0-6/7", b"picture"),
    ],
)
def test_stream_refuses_another_range_than_requested(site, store, content_range, body):
    """Its bytes would be taken for the requested ones."""
    site.pages["/a.png"] = lambda request: request.respond(206, {"Content-Range": content_range}, body)
    assert read_error(store, find_image(site), "open").kind == "unreadable"


def test_stream_raises_when_a_range_stays_incomplete(site, store, build_page):
    """The server stops supporting ranges and sends no length."""
    site.pages["/a.png"] = build_page(LONG, etag=None)
    stream = store.open(find_image(site))
    site.pages["/a.png"] = answer_in_chunks
    stream.seek(-10, io.SEEK_END)
    with pytest.raises(DocumentError, match="fewer bytes than announced"):
        stream.read()


def test_header_of_a_url_is_read_for_billing(site, store, build_page):
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200)).save(buffer, "PNG")
    site.pages["/a.png"] = build_page(buffer.getvalue())
    (page,) = read_pages(store.stat(find_image(site)), store, frames=False, most=1)
    assert page.header.size == Size(300, 200)


def test_read_returns_all_bytes_in_one_request(site, store, build_page):
    """The request is conditional on the version found by `stat`."""
    site.pages["/a.png"] = build_page(LONG)
    found = store.stat(find_image(site))
    assert store.read(found) == LONG
    method, _, headers = site.requests[1]
    assert (method, headers["If-Match"], headers["Accept-Encoding"]) == ("GET", '"v1"', "identity")


@pytest.mark.parametrize("etag", ['W/"v1"', "v1", None])
def test_read_is_conditional_on_strong_etags_only(site, store, build_page, etag):
    """If-Match never matches another value."""
    site.pages["/a.png"] = build_page(etag=etag, headers=MODIFIED)
    assert store.read(store.stat(find_image(site))) == b"picture"
    assert "If-Match" not in site.requests[1][2]


@pytest.mark.parametrize("method", ["open", "read"])
@pytest.mark.parametrize(
    "changes",
    [
        {"etag": '"v2"'},
        {"etag": '"v2"', "status": 203},
        {"etag": None},
        {"data": b"longer picture"},
        {"status": 412},
    ],
)
def test_store_refuses_an_image_changed_since_stat(site, store, build_page, method, changes):
    """The server may report it, or send another version because it ignores If-Match."""
    found = store.stat(find_image(site))
    site.pages["/a.png"] = lambda request: (request.headers.__delitem__("If-Match"), build_page(**changes)(request))
    error = read_error(store, found, method)
    assert (error.kind, error.final) == ("changed", False)
    assert error.message == f"{site.url()} changed since it was listed; the next run reads the new version"


def test_read_compares_the_received_length(site, store):
    """The response has no other sign of a change."""
    site.pages["/a.png"] = answer_in_chunks
    assert store.read(Found(site.url(), size=7)) == b"picture"
    assert read_error(store, Found(site.url(), size=8)).kind == "changed"


def test_read_refuses_a_changed_modification_time(site, store, build_page):
    """Some servers have no etags."""
    site.pages["/a.png"] = build_page(etag=None, headers=MODIFIED)
    found = store.stat(find_image(site))
    site.pages["/a.png"] = build_page(etag=None, headers={"Last-Modified": "Sat, 21 Nov 2026 10:00:01 GMT"})
    assert read_error(store, found).kind == "changed"


def test_read_accepts_an_etag_that_became_weak(site, store, build_page):
    """Caches mark etags as weak."""
    found = store.stat(find_image(site))
    site.pages["/a.png"] = lambda request: request.respond(200, {"ETag": 'W/"v1"'}, b"picture")
    assert store.read(found) == b"picture"


def test_store_reuses_its_connection(site, store):
    """It is reused after an error response, too."""
    site.pages["/none.png"] = lambda request: request.respond(404, {}, b"nothing here")
    found = store.stat(find_image(site))
    store.stat(Found(site.url("/none.png")))
    assert store.read(found) == b"picture"
    assert len(site.connections) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410, 400, 204, 304, 206])
def test_read_refuses_a_response_without_the_whole_image(site, store, status):
    site.pages["/a.png"] = lambda request: request.respond(status, {"Content-Length": "0"}, b"")
    error = read_error(store, find_image(site))
    assert error.kind == {401: "forbidden", 403: "forbidden", 404: "missing", 410: "missing"}.get(status, "unreadable")
    assert error.final is False


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_temporary_error_is_retried_twice(site, store, network, build_page, status):
    """The wait grows."""
    site.pages["/a.png"] = answer_in_turn(build_page(status=status), build_page(status=status), build_page())
    assert store.read(find_image(site)) == b"picture"
    assert network.waits == [0.5, 1.0]


def test_read_gives_up_after_three_attempts(site, store, build_page):
    """The error is not final: the next run tries again."""
    site.pages["/a.png"] = build_page(status=503)
    error = read_error(store, find_image(site))
    assert (error.kind, error.final) == ("unreadable", False)
    assert error.message == f"{site.url()} cannot be read: the server returned 503 Service Unavailable"
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("100", 10.0),
        ("Sat, 21 Nov 2099 10:00:00 GMT", 10.0),
        ("soon", 0.5),
        ("Sat, 21 Nov 2020 10:00:00 GMT", 0.0),
        ("-1", 0.5),
    ],
)
def test_retry_after_is_obeyed_up_to_ten_seconds(site, store, network, build_page, retry_after, seconds):
    site.pages["/a.png"] = answer_in_turn(build_page(status=429, headers={"Retry-After": retry_after}), build_page())
    assert store.read(find_image(site)) == b"picture"
    assert network.waits == [seconds]


def test_broken_connection_is_retried(site, store, build_page):
    """An incomplete response is not taken for the image."""
    site.pages["/a.png"] = answer_in_turn(build_page(b"pict", length=7), build_page())
    assert store.read(find_image(site)) == b"picture"


def test_read_raises_for_a_response_that_stays_incomplete(site, store, build_page):
    site.pages["/a.png"] = build_page(b"pict", length=7)
    error = read_error(store, find_image(site))
    assert error.kind == "unreadable"
    assert "received 4 bytes, expected 7" in error.message


def test_bytes_beyond_content_length_are_not_read_as_the_next_response(site, store, build_page):
    site.pages["/a.png"] = build_page(b"picture", length=4, etag=None)
    site.pages["/b.png"] = build_page(b"another")
    assert store.read(find_image(site)) == b"pict"
    assert store.read(find_image(site, "/b.png")) == b"another"


def test_retry_that_would_exceed_the_time_limit_is_not_started(site, create_store, network, build_page):
    """The limit holds for all attempts together."""
    site.pages["/a.png"] = build_page(status=429, headers={"Retry-After": "9"})
    store = create_store(limits=FetchLimits(seconds=8))
    assert read_error(store, find_image(site)).kind == "unreadable"
    assert network.waits == []


def test_closed_store_has_no_connections(site, store):
    store.read(find_image(site))
    store.close()
    assert store._fetcher._pool.connections == []
