"""scan/web/store.py: metadata and bytes of images at URLs; over HTTP."""

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
    """The image at a path, not looked at yet."""
    return Found(site.url(path))


def reading(store, found, act="read"):
    """What reading the image raises."""
    with pytest.raises(DocumentError) as raised:
        getattr(store, act)(found)
    assert "\n" not in raised.value.message
    assert raised.value.stage == "scan"
    return raised.value


def flaw(store, site):
    """What is wrong with the image when it is looked at."""
    return store.stat(find_image(site)).problem


def in_turn(*pages):
    """A page that is another one every time."""
    left = list(pages)

    def answer(asked):
        left.pop(0)(asked)

    return answer


def answer_in_chunks(asked, data=b"picture"):
    """A page that does not say how long it is."""
    asked.send_response(200)
    asked.send_header("Transfer-Encoding", "chunked")
    asked.end_headers()
    for half in (data[:3], data[3:], b""):
        asked.wfile.write(b"%x\r\n%s\r\n" % (len(half), half))


# --- look


def test_look_tells_size_etag_and_time(site, store, page):
    """One request without a body says it all."""
    site.pages["/a.png"] = page(headers=MODIFIED)
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
def test_the_version_is_what_the_server_tells(site, store, page, etag, headers, version):
    """The etag, else length and time; none where there is neither."""
    site.pages["/a.png"] = page(etag=etag, headers=headers)
    assert store.stat(find_image(site)).version == version


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501])
def test_a_server_that_refuses_head_is_asked_for_a_byte(site, store, page, status):
    """It tells the same then."""
    site.pages["/a.png"] = page(LONG, head=status)
    found = store.stat(find_image(site))
    assert (found.size, found.version, found.problem) == (len(LONG), '"v1"', None)
    assert site.methods == ["HEAD", "GET"]
    assert site.asked[1][2]["Range"] == "bytes=0-0"


def test_a_server_that_knows_neither_head_nor_range_is_not_read_to_the_end(site, store, page):
    """Its length stands before the bytes."""
    site.pages["/a.png"] = page(LONG, head=405, ranges=False)
    assert store.stat(find_image(site)).size == len(LONG)


@pytest.mark.parametrize("headers", [{"Content-Length": None}, {"Content-Length": "0"}])
def test_a_head_that_tells_no_size_is_asked_for_a_byte(site, store, page, headers):
    """Frameworks that answer HEAD without looking say nothing, or 0."""
    image = page(LONG)
    site.pages["/a.png"] = lambda asked: asked.say(200, headers, b"") if asked.command == "HEAD" else image(asked)
    assert store.stat(find_image(site)).size == len(LONG)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_without_bytes_has_the_size_0(site, store, page, ranges):
    """What is wrong with it is said by the bill."""
    site.pages["/a.png"] = page(b"", ranges=ranges)
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
def test_what_cannot_be_had_is_found_with_a_flaw(site, store, page, status, kind):
    """The next run asks again."""
    site.pages["/a.png"] = page(status=status)
    said = flaw(store, site)
    assert (said.kind, said.stage, said.final) == (kind, "scan", False)
    assert said.message.startswith(f"{site.url()} cannot be read: the server returned {status} ")


def test_too_many_bytes_are_a_flaw(site, store, page):
    """The length is enough to know."""
    site.pages["/a.png"] = page(b"", length=MAX_BYTES + 1)
    assert (flaw(store, site).kind, flaw(store, site).final) == ("too_many_bytes", False)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "video/mp4"])
def test_what_the_server_calls_otherwise_is_no_image(site, store, page, kind):
    """A page that asks for a login is none, but may make way for the image: not final."""
    site.pages["/a.png"] = page(kind=kind)
    said = flaw(store, site)
    assert (said.kind, said.final) == ("not_an_image", False)
    assert said.message.endswith(f"is not a image: the server sent content type {kind.partition(';')[0]}")


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "IMAGE/PNG", "application/octet-stream", "binary/octet-stream", "application/pdf", None]
)
def test_what_may_be_an_image_is_found(site, store, page, kind):
    """Many servers say of any file only that it is bytes."""
    site.pages["/a.png"] = page(kind=kind)
    assert flaw(store, site) is None


def test_a_video_may_be_large_and_is_none_of_the_images(site, store, page):
    """It is passed on and never fetched."""
    site.pages["/a.png"] = page(b"", length=MAX_BYTES + 1, kind="video/mp4")
    found = store.stat(Found(site.url(), video=True))
    assert (found.size, found.problem) == (MAX_BYTES + 1, None)


def test_what_is_known_is_not_asked_for(site, store):
    """Neither an image whose version is known, nor one with a flaw."""
    looked = store.stat(find_image(site))
    assert store.stat(looked) is looked
    assert len(site.asked) == 1


def test_the_full_url_is_asked_for_and_the_bare_one_spoken_of(site, store, page):
    """What signs a URL is seen by its server alone."""
    site.pages["/a.png"] = page(status=403)
    signed = SecretStr(site.url("/a.png?id=1&X-Amz-Signature=geheim"))
    found = store.stat(Found(site.url("/a.png?id=1"), address=signed))
    assert site.asked[0][1] == "/a.png?id=1&X-Amz-Signature=geheim"
    assert "geheim" not in repr(found)
    assert "/a.png?id=1 cannot be read" in found.problem.message


def test_a_link_is_the_full_url(site, store):
    """Whoever it is passed on to can read it."""
    signed = site.url("/a.png?X-Amz-Signature=geheim")
    assert store.link(Found(site.url(), address=SecretStr(signed))) == signed
    assert store.link(Found(site.url())) == site.url()
    assert reading(store, Found("file:///etc/passwd"), "link").kind == "blocked_address"


# --- open


def test_only_the_blocks_that_are_read_are_fetched(site, store, page):
    """A header costs one request of 64 KiB, wherever else is read another."""
    site.pages["/a.png"] = page(LONG)
    stream = store.open(store.stat(find_image(site)))
    assert stream.read(100) == LONG[:100]
    stream.seek(-50, io.SEEK_END)
    assert stream.read() == LONG[-50:]
    assert [headers.get("Range") for _, _, headers in site.asked] == [None, "bytes=0-65535", "bytes=458752-499999"]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("data", [b"p", LONG[:65_536], LONG[:65_537], LONG], ids=len)
def test_a_stream_gives_every_byte(site, store, page, ranges, data):
    """Whether or not the server knows parts."""
    site.pages["/a.png"] = page(data, ranges=ranges)
    stream = store.open(find_image(site))
    assert b"".join(iter(lambda: stream.read(50_000), b"")) == data


def test_a_server_that_ignores_range_is_not_read_to_the_end(site, store):
    """What stands before the end of the block is kept, and the rest not waited for."""
    asked_on = []

    def endless(asked):
        asked.send_response(200)
        asked.send_header("Content-Length", str(200 * 2**20))
        asked.end_headers()
        for number in range(3200):
            asked.wfile.write(bytes(2**16))
            asked_on.append(number)

    site.pages["/a.png"] = endless
    assert store.open(find_image(site)).read(10) == bytes(10)
    assert len(asked_on) < 1000


def test_what_a_server_that_ignores_range_sent_is_kept(site, store, page):
    """Going back costs no request."""
    site.pages["/a.png"] = page(LONG, ranges=False)
    stream = store.open(find_image(site))
    stream.seek(-10, io.SEEK_END)
    assert stream.read() == LONG[-10:]
    stream.seek(0)
    assert stream.read() == LONG
    assert len(site.asked) == 2


def test_a_stream_without_a_length_is_read_whole(site, store):
    """Nothing else tells where it ends."""
    site.pages["/a.png"] = answer_in_chunks
    stream = store.open(find_image(site))
    stream.seek(-3, io.SEEK_END)
    assert stream.read() == b"ure"


def test_a_stream_is_of_one_version(site, store, page):
    """What changes while it is read is not mixed, even where no version was known before."""
    site.pages["/a.png"] = page(LONG)
    stream = store.open(find_image(site))
    site.pages["/a.png"] = page(LONG, etag='"v2"')
    stream.seek(-10, io.SEEK_END)
    with pytest.raises(DocumentError, match="changed since it was listed"):
        stream.read()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ("bytes 0-6/500", b"picture"),  # fewer than asked for
        ("bytes 10-500/500", b"picture"),
        ("bytes 1-7/7", b"picture"),
        ("bytes 0-6/7", b"pict"),
        ("items 0-6/7", b"picture"),
    ],
)
def test_other_bytes_than_those_asked_for_are_refused(site, store, said, body):
    """A part that is not the one wanted would be read as if it were."""
    site.pages["/a.png"] = lambda asked: asked.say(206, {"Content-Range": said}, body)
    assert reading(store, find_image(site), "open").kind == "unreadable"


def test_a_part_that_does_not_come_is_said(site, store, page):
    """Where a server that knew parts suddenly does not, nor how long the image is."""
    site.pages["/a.png"] = page(LONG, etag=None)
    stream = store.open(find_image(site))
    site.pages["/a.png"] = answer_in_chunks
    stream.seek(-10, io.SEEK_END)
    with pytest.raises(DocumentError, match="fewer bytes than announced"):
        stream.read()


def test_an_image_is_billed_by_its_header(site, store, page):
    """The stages behind see a store like any other."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200)).save(buffer, "PNG")
    site.pages["/a.png"] = page(buffer.getvalue())
    (page,) = read_pages(store.stat(find_image(site)), store, frames=False, most=1)
    assert page.header.size == Size(300, 200)


# --- read


def test_read_gives_all_bytes_in_one_request(site, store, page):
    """Of the version that was found."""
    site.pages["/a.png"] = page(LONG)
    found = store.stat(find_image(site))
    assert store.read(found) == LONG
    method, _, headers = site.asked[1]
    assert (method, headers["If-Match"], headers["Accept-Encoding"]) == ("GET", '"v1"', "identity")


@pytest.mark.parametrize("etag", ['W/"v1"', "v1", None])
def test_only_a_strong_etag_is_a_condition(site, store, page, etag):
    """Any other never matches."""
    site.pages["/a.png"] = page(etag=etag, headers=MODIFIED)
    assert store.read(store.stat(find_image(site))) == b"picture"
    assert "If-Match" not in site.asked[1][2]


@pytest.mark.parametrize("act", ["open", "read"])
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
def test_what_was_written_to_since_it_was_found_is_changed(site, store, page, act, changes):
    """By the server's own word, or by what it sends; also where it does not know the condition."""
    found = store.stat(find_image(site))
    site.pages["/a.png"] = lambda asked: (asked.headers.__delitem__("If-Match"), page(**changes)(asked))
    error = reading(store, found, act)
    assert (error.kind, error.final) == ("changed", False)
    assert error.message == f"{site.url()} changed since it was listed; the next run reads the new version"


def test_a_length_that_came_unsaid_is_compared(site, store):
    """Where nothing else tells that the image changed."""
    site.pages["/a.png"] = answer_in_chunks
    assert store.read(Found(site.url(), size=7)) == b"picture"
    assert reading(store, Found(site.url(), size=8)).kind == "changed"


def test_a_time_that_changed_is_a_change(site, store, page):
    """Where a server has no etags."""
    site.pages["/a.png"] = page(etag=None, headers=MODIFIED)
    found = store.stat(find_image(site))
    site.pages["/a.png"] = page(etag=None, headers={"Last-Modified": "Sat, 21 Nov 2026 10:00:01 GMT"})
    assert reading(store, found).kind == "changed"


def test_an_etag_is_the_same_when_it_is_called_weak(site, store, page):
    """Caches say so of what they passed on."""
    found = store.stat(find_image(site))
    site.pages["/a.png"] = lambda asked: asked.say(200, {"ETag": 'W/"v1"'}, b"picture")
    assert store.read(found) == b"picture"


def test_a_connection_is_used_again(site, store):
    """Also after an answer that was a refusal."""
    site.pages["/none.png"] = lambda asked: asked.say(404, {}, b"nothing here")
    found = store.stat(find_image(site))
    store.stat(Found(site.url("/none.png")))
    assert store.read(found) == b"picture"
    assert len(site.connections) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410, 400, 204, 304, 206])
def test_what_is_not_the_image_is_not_read(site, store, status):
    """Whatever it says."""
    site.pages["/a.png"] = lambda asked: asked.say(status, {"Content-Length": "0"}, b"")
    error = reading(store, find_image(site))
    assert error.kind == {401: "forbidden", 403: "forbidden", 404: "missing", 410: "missing"}.get(status, "unreadable")
    assert error.final is False


# --- again


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(site, store, outside, page, status):
    """Twice, with a growing wait."""
    site.pages["/a.png"] = in_turn(page(status=status), page(status=status), page())
    assert store.read(find_image(site)) == b"picture"
    assert outside.slept == [0.5, 1.0]


def test_three_tries_are_enough(site, store, page):
    """Then it is left to the next run."""
    site.pages["/a.png"] = page(status=503)
    error = reading(store, find_image(site))
    assert (error.kind, error.final) == ("unreadable", False)
    assert error.message == f"{site.url()} cannot be read: the server returned 503 Service Unavailable"
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    ("said", "slept"),
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
def test_what_the_server_asks_for_is_waited(site, store, outside, page, said, slept):
    """Up to ten seconds."""
    site.pages["/a.png"] = in_turn(page(status=429, headers={"Retry-After": said}), page())
    assert store.read(find_image(site)) == b"picture"
    assert outside.slept == [slept]


def test_a_connection_that_breaks_off_is_tried_again(site, store, page):
    """The bytes that came are not taken for all."""
    site.pages["/a.png"] = in_turn(page(b"pict", length=7), page())
    assert store.read(find_image(site)) == b"picture"


def test_a_length_that_is_never_reached_is_said(site, store, page):
    """A picture cut short is not read."""
    site.pages["/a.png"] = page(b"pict", length=7)
    error = reading(store, find_image(site))
    assert error.kind == "unreadable"
    assert "received 4 bytes, expected 7" in error.message


def test_a_length_that_is_too_short_cuts_the_picture_and_nothing_else(site, store, page):
    """What comes behind it is not taken for the next answer."""
    site.pages["/a.png"] = page(b"picture", length=4, etag=None)
    site.pages["/b.png"] = page(b"another")
    assert store.read(find_image(site)) == b"pict"
    assert store.read(find_image(site, "/b.png")) == b"another"


def test_a_wait_beyond_the_end_is_not_begun(site, stores, outside, page):
    """The limit holds for all tries together."""
    site.pages["/a.png"] = page(status=429, headers={"Retry-After": "9"})
    store = stores(patience=FetchLimits(seconds=8))
    assert reading(store, find_image(site)).kind == "unreadable"
    assert outside.slept == []


def test_a_closed_store_holds_no_connection(site, store):
    """Whoever closes it leaves nothing open."""
    store.read(find_image(site))
    store.close()
    assert store._fetcher._pool.connections == []
