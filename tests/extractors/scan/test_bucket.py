"""scan/bucket.py and scan/__init__.py: objects listed and read over HTTP, and the errors."""

import io
import json
import re
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, urlencode

import pytest
from PIL import Image

from extractors.bill import Tariff, read_pages
from extractors.config.job import Job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core import Found
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.core.money import FREE
from extractors.core.tiles import Size, get_rule
from extractors.images.limits import MAX_BYTES
from extractors.plan.feed import Feed
from extractors.scan import Listing, Selection, create_store, scan

SLOW = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def keys(source):
    """The keys found, in their order."""
    return [found.uri.split("/", 3)[3] for found in scan(source)]


def find_image(bucket):
    """The one image of the bucket."""
    (found,) = scan(bucket.url)
    return found


def picture(size=(300, 200), kind="PNG", **options):
    """A picture's bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind, **options)
    return buffer.getvalue()


def reading(bucket, found, act="read"):
    """What reading the image raises."""
    with pytest.raises(DocumentError) as raised:
        getattr(create_store(bucket.url), act)(found)
    return raised.value.kind, raised.value.final


def put_raw(bucket, key):
    """An object whose key obstore refuses."""
    bucket.ask("PUT", f"{bucket.name}/{key}", b"picture")


def refuse(source):
    """What is said of a source that cannot be listed, on one line."""
    with pytest.raises(ConfigurationError) as raised:
        scan(source)
    assert "\n" not in raised.value.message
    return raised.value.message


def first(count, status=503, body=SLOW):
    """An answer to so many requests; then none."""
    answers = iter([(status, body)] * count)
    return lambda path: next(answers, None)


@pytest.fixture
def users(bucket):
    """Makes users with these permissions and gives their keys; from the first on, the server checks every key."""

    def ask(action, **fields):
        body = urlencode({"Action": action, "Version": "2010-05-08", **fields}).encode()
        return bucket.ask("POST", "", body, service="iam").decode()

    def user(*actions):
        name = f"{bucket.name}-{'-'.join(actions).replace(':', '')}"
        allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        ask("CreateUser", UserName=name)
        ask("PutUserPolicy", UserName=name, PolicyName="only", PolicyDocument=policy)
        made = ask("CreateAccessKey", UserName=name)
        bucket.ask("POST", "moto-api/reset-auth", b"0")
        return [re.search(f"<{each}>(.*?)</{each}>", made)[1] for each in ("AccessKeyId", "SecretAccessKey")]

    yield user
    bucket.ask("POST", "moto-api/reset-auth", b"inf")


@pytest.fixture
def sign_in(monkeypatch):
    """Sets the key that is used."""

    def key(name, secret):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    return key


# --- what is found


@pytest.mark.slow
def test_more_images_than_a_page_are_found_in_the_order_of_their_keys(bucket):
    """A listing goes on where a page of 1,000 ends, and what is no image by its name is passed over."""
    wanted = [f"in/{number:04}.jpg" for number in range(1050)]
    bucket.fill([*wanted, "in/0001.txt", "in/list", "other/a.jpg"])
    assert keys(f"{bucket.url}/in") == wanted
    listings = [path for _, path, _ in bucket.front.asked if "list-type=2" in path]
    assert len(listings) == 3  # one that says whether it can be listed at all, and two pages


def test_a_prefix_is_a_folder(bucket):
    """`in` holds what is in `in/`, however it is written, and nothing of `in2/`."""
    bucket.fill(["in/a.jpg", "in/b/c.PNG", "in2/d.jpg", "in.jpg"])
    assert keys(f"{bucket.url}/in") == keys(f"{bucket.url}/in/") == ["in/a.jpg", "in/b/c.PNG"]


def test_one_image_is_a_source(bucket):
    """An object named is the one image found; a folder named like an image is walked."""
    bucket.fill(["a.jpg", "b.jpg", "album.jpg/c.jpg"])
    assert keys(f"{bucket.url}/a.jpg") == ["a.jpg"]
    assert keys(f"{bucket.url}/album.jpg") == ["album.jpg/c.jpg"]


def test_an_empty_prefix_gives_nothing(bucket):
    """A bucket without an object below the prefix is an empty stream, not an error of the scan."""
    assert keys(f"{bucket.url}/nothing") == []


def test_found_says_uri_size_etag_and_modification_in_utc(bucket):
    """The listing says it all."""
    bucket.put("in/a.jpg", b"12345")
    found = find_image(bucket)
    assert (found.uri, found.size) == (f"{bucket.url}/in/a.jpg", 5)
    assert found.version == '"827ccb0eea8a706c4c34a16891f84e7b"'
    assert found.modified.tzinfo == UTC
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "key", ["a b.jpg", "ü/ß.png", "a%20b.jpg", "a?b#c.jpg", "a+b~[1]*.jpg", "a\\b.jpg", "a'b\".jpg"]
)
def test_a_key_may_hold_any_character(bucket, key):
    """What is found under a name is read under it."""
    bucket.put(quote(key))
    found = find_image(bucket)
    assert found.uri == f"{bucket.url}/{key}"
    assert create_store(bucket.url).read(found) == b"picture"


# --- how it is read


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_header_costs_one_request_of_64_kib(bucket, kind, size):
    """Pixels behind the header are not fetched."""
    bucket.put("a.png", picture(kind=kind) + bytes(size))
    found, reader = find_image(bucket), create_store(bucket.url)
    bucket.front.asked.clear()
    assert read_pages(found, reader, frames=False, most=1)[0].header.size == Size(300, 200)
    assert [part for _, _, part in bucket.front.asked] == ["bytes=0-65535"]


def test_a_long_header_is_fetched_as_far_as_it_goes(bucket):
    """Half a megabyte of profile before the size takes a few requests more, and not the whole file."""
    profile = bytes(500_000)
    bucket.put("a.jpg", picture(kind="JPEG", icc_profile=profile) + bytes(3_000_000))
    found, reader = find_image(bucket), create_store(bucket.url)
    bucket.front.asked.clear()
    assert read_pages(found, reader, frames=False, most=1)[0].header.size == Size(300, 200)
    assert 2 <= len(bucket.front.asked) <= 5
    assert int(bucket.front.asked[-1][2].rpartition("-")[2]) < 1_500_000


def test_all_bytes_are_fetched_in_one_request(bucket):
    """Reading an image asks for it once."""
    data = bytes(range(256)) * 4000
    bucket.put("a.jpg", data)
    found, reader = find_image(bucket), create_store(bucket.url)
    bucket.front.asked.clear()
    assert reader.read(found) == data
    assert [part for _, _, part in bucket.front.asked] == [None]


def test_headers_are_read_many_at_a_time_and_stay_in_order(bucket):
    """A batch waits as long as a few requests, not as long as all of them one after the other."""
    bucket.fill([f"{number:03}.png" for number in range(100)], picture())
    feed = Feed(
        resolve(Job(source=bucket.url), Settings(), sends=False), Tariff(get_rule("formula"), FREE, 400, 100, 300, 2048)
    )
    bucket.front.seconds = 0.1
    started = time.monotonic()
    planned = feed.take(200)
    assert time.monotonic() - started < 5  # one by one it takes ten
    assert [each.document for each in planned] == [f"{bucket.url}/{number:03}.png" for number in range(100)]
    assert {each.first.action for each in planned} == {"send"}


@pytest.mark.parametrize("act", ["open", "read"])
def test_an_object_written_to_since_it_was_found_is_changed(bucket, act):
    """The bytes billed are the bytes sent; the next run takes the object as it is then."""
    bucket.put("a.jpg", b"before")
    found = find_image(bucket)
    bucket.put("a.jpg", b"after!")
    assert reading(bucket, found, act) == ("changed", False)


def test_an_object_that_changes_between_two_parts_of_a_header_is_changed(bucket):
    """No header is put together from two pictures."""
    bucket.put("a.jpg", bytes(200_000))
    found = find_image(bucket)
    with create_store(bucket.url).open(found) as stream:
        bucket.put("a.jpg", bytes(200_001))
        with pytest.raises(DocumentError) as raised:
            stream.read()
    assert raised.value.kind == "changed"


@pytest.mark.parametrize("act", ["open", "read"])
def test_an_object_that_is_gone_is_missing(bucket, act):
    """It may come back, so the failure is not final."""
    bucket.put("a.jpg")
    found = find_image(bucket)
    bucket.delete("a.jpg")
    assert reading(bucket, found, act) == ("missing", False)


@pytest.mark.parametrize("act", ["open", "read"])
def test_an_object_that_may_not_be_read_is_forbidden(bucket, users, sign_in, act):
    """Who may list may not always read; permissions change, so the failure is not final."""
    bucket.put("a.jpg")
    sign_in(*users("s3:ListBucket"))
    assert reading(bucket, find_image(bucket), act) == ("forbidden", False)


def test_an_object_of_too_many_bytes_is_refused_unasked(bucket):
    """It is not fetched, in this run or another."""
    assert reading(bucket, Found(f"{bucket.url}/a.jpg", MAX_BYTES + 1)) == ("too_many_bytes", True)
    assert bucket.front.asked == []


def test_a_server_that_cannot_is_a_reason_to_try_again(bucket):
    """Whatever else goes wrong with one object is a row of its own, without a signature in it."""
    bucket.put("a.jpg")
    found = find_image(bucket)
    bucket.front.answer = lambda path: (400, b"no")
    with pytest.raises(DocumentError, match="cannot be read") as raised:
        create_store(bucket.url).read(found)
    assert (raised.value.kind, raised.value.final) == ("unreadable", False)


# --- what the server says


def test_slow_down_is_waited_out_by_the_listing(bucket):
    """A busy server is asked again, a little later."""
    bucket.put("a.jpg")
    bucket.front.answer = first(2)
    assert keys(bucket.url) == ["a.jpg"]


def test_slow_down_is_waited_out_by_a_reader(bucket):
    """A busy server costs no image."""
    bucket.put("a.jpg")
    found = find_image(bucket)
    bucket.front.answer = first(2)
    assert create_store(bucket.url).read(found) == b"picture"


def test_a_listing_that_breaks_off_is_found_with_a_flaw(bucket):
    """What was listed is kept, and the rest is a row that says why; the next run lists it again."""
    bucket.put("a.jpg")
    stream = scan(bucket.url)
    bucket.front.answer = first(1, 403, b"<Error><Code>ExpiredToken</Code></Error>")
    (flawed,) = stream
    assert (flawed.uri, flawed.problem.kind, flawed.problem.final) == (bucket.url, "unreadable", False)
    assert "broke off: ExpiredToken" in flawed.problem.message


def test_a_bucket_that_does_not_exist_is_refused_at_once(bucket):
    """The refusal names the source and what to look at."""
    said = refuse("s3://no-such-bucket/in")
    assert said.startswith("source 's3://no-such-bucket/in' does not exist: no such bucket")
    assert "AWS_ENDPOINT_URL" in said


def test_a_key_that_nobody_knows_is_refused_at_once(bucket, users, sign_in):
    """The refusal names the settings that hold the key, and not the key."""
    users("s3:*")
    sign_in("AKIAWRONG", "hidden")
    said = refuse(bucket.url)
    assert "cannot be read with this key (InvalidAccessKeyId): check AWS_ACCESS_KEY_ID" in said
    assert "hidden" not in said


def test_a_wrong_secret_is_refused_at_once(bucket, users, sign_in):
    """A key with another's secret is a wrong key."""
    name, _ = users("s3:*")
    sign_in(name, "hidden")
    assert "cannot be read with this key (SignatureDoesNotMatch)" in refuse(bucket.url)


def test_who_may_not_list_is_told_the_permission(bucket, users, sign_in):
    """A key that is right and may not list is no wrong key."""
    sign_in(*users("s3:GetObject"))
    assert "may not be listed (AccessDenied): the key needs s3:ListBucket" in refuse(bucket.url)


def test_without_credentials_the_settings_are_named(bucket, monkeypatch):
    """No key, no profile, no role: the refusal says which to set, and how a public bucket is read."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    said = refuse(bucket.url)
    assert "needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in said
    assert "AWS_SKIP_SIGNATURE=true" in said


def test_a_public_bucket_needs_no_credentials(bucket, monkeypatch):
    """Requests are not signed where that is asked for."""
    bucket.put("a.jpg")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert keys(bucket.url) == ["a.jpg"]


def test_a_profile_signs_in(bucket, users, sign_in, monkeypatch, tmp_path):
    """The keys of `~/.aws/credentials` are used where the environment names none."""
    bucket.put("a.jpg")
    name, secret = users("s3:*")
    (tmp_path / ".aws").mkdir()
    written = f"[other]\naws_access_key_id = {name}\naws_secret_access_key = {secret}\n"
    (tmp_path / ".aws" / "credentials").write_text(written)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert keys(bucket.url) == ["a.jpg"]


def test_an_endpoint_without_encryption_has_to_be_allowed(bucket, monkeypatch):
    """The refusal names the setting."""
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "an endpoint at http:// needs AWS_ALLOW_HTTP=true" in refuse(bucket.url)


def test_a_server_that_is_busy_all_along_is_refused(bucket):
    """The refusal comes within seconds and says what the server said."""
    bucket.front.answer = lambda path: (503, SLOW)
    assert "cannot be listed: SlowDown" in refuse(bucket.url)


@pytest.mark.parametrize("odd", ["in//b.jpg", "in/../x.jpg", "in/./x.jpg", "in/t%09b.jpg", "in/%01.jpg"])
def test_scan_costs_an_odd_key_only_that_key(bucket, odd):
    """Its neighbours on the same page are found, and it is a problem of its own."""
    put_raw(bucket, odd)
    bucket.fill(["in/a.jpg", "in/c.jpg", "in/z/y.jpg"])
    listing = Listing()
    found = list(scan(f"{bucket.url}/in", listing=listing))
    good = [each.uri.removeprefix(f"{bucket.url}/") for each in found if each.problem is None]
    (bad,) = [each for each in found if each.problem]
    assert good == ["in/a.jpg", "in/c.jpg", "in/z/y.jpg"]
    assert (bad.problem.kind, bad.problem.stage, bad.uri) == ("unreadable", "scan", f"{bucket.url}/{unquote(odd)}")
    assert listing.incomplete is None


def test_scan_finds_the_same_objects_by_either_api(bucket):
    """Size, version and time of an object do not depend on a neighbour with an odd key."""
    bucket.fill([quote(key) for key in ("in/a b+c.jpg", "in/ü&<.jpg", "in/z.jpg")])
    before = list(scan(f"{bucket.url}/in"))
    put_raw(bucket, "in//b.jpg")
    after = [each for each in scan(f"{bucket.url}/in") if each.problem is None]
    assert after == before


@pytest.mark.slow
def test_scan_continues_after_an_odd_key_on_a_later_page(bucket):
    """Every image is found once, in order."""
    names = [f"in/{number:05}.jpg" for number in range(1100)]
    bucket.fill(names)
    put_raw(bucket, "in/01050//x.jpg")
    found = [each.uri.removeprefix(f"{bucket.url}/") for each in scan(f"{bucket.url}/in") if not each.problem]
    assert found == names


def test_listing_is_incomplete_when_the_api_fails_too(bucket):
    """What was listed is kept, and the listing says that it is not whole."""
    bucket.fill(["a.jpg"])
    put_raw(bucket, "b//c.jpg")
    listing = Listing()
    stream = scan(bucket.url, listing=listing)
    bucket.front.answer = lambda path: (403, b"<Error><Code>ExpiredToken</Code></Error>") if "x-id" in path else None
    assert [each.problem.kind for each in stream] == ["unreadable"]
    assert "ExpiredToken" in listing.incomplete


def test_scan_passes_over_hidden_and_excluded_keys(bucket):
    """A folder of keys counts once; what an include names is read."""
    bucket.fill(["in/a.jpg", "in/.thumbnails/1.jpg", "in/.thumbnails/2.jpg", "in/._a.jpg", "in/b.txt", "in/x/c.jpg"])
    listing = Listing()
    found = list(scan(f"{bucket.url}/in", Selection(exclude=("x/**",)), listing))
    assert [each.uri for each in found] == [f"{bucket.url}/in/a.jpg"]
    assert listing.passed_over == {"thumbnails": 1, "AppleDouble": 1, ".txt": 1, "excluded": 1}
    lifted = list(scan(f"{bucket.url}/in", Selection((".thumbnails/1.jpg",))))
    assert [each.uri for each in lifted] == [f"{bucket.url}/in/.thumbnails/1.jpg"]


@pytest.mark.parametrize("source", ["s3://user:hidden@bucket/in", "s3://bucket/in?X-Amz-Signature=hidden"])
def test_a_source_holds_no_secret(source):
    """What is in a source ends in tables and logs."""
    said = refuse(source)
    assert "holds more than a location" in said
    assert "hidden" not in said


@pytest.mark.parametrize("folder", ["Invoices #1", "What?", "a?b=1#page=2", "50% & more"])
def test_prefix_may_hold_marks_of_urls(bucket, folder):
    """Object URLs have no query and no fragment."""
    bucket.fill([quote(f"{folder}/a.jpg"), "other/b.jpg"])
    (found,) = scan(f"{bucket.url}/{folder}/")
    assert found.uri == f"{bucket.url}/{folder}/a.jpg"
    assert create_store(bucket.url).read(found) == b"picture"


def test_a_source_names_a_bucket():
    """A scheme alone is nowhere."""
    assert "names no bucket: write gs://bucket/prefix" in refuse("gs://")


def test_azure_needs_an_account(monkeypatch):
    """The bucket's name alone does not say whose container it is."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert "names no account: set AZURE_STORAGE_ACCOUNT_NAME" in refuse("az://container/in")
