"""scan/bucket.py and scan/__init__.py: objects listed and read over HTTP, and their errors."""

import io
import json
import re
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


def list_keys(source):
    """List the keys found, in order."""
    return [found.uri.split("/", 3)[3] for found in scan(source)]


def find_image(bucket):
    """Find the one image of the bucket."""
    (found,) = scan(bucket.url)
    return found


def encode_image(size=(300, 200), kind="PNG", **options):
    """Encode an image."""
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind, **options)
    return buffer.getvalue()


def read_error(bucket, found, method="read"):
    """Return kind and finality of the error that reading the image raises."""
    with pytest.raises(DocumentError) as raised:
        getattr(create_store(bucket.url), method)(found)
    return raised.value.kind, raised.value.final


def put_raw(bucket, key):
    """Store an object whose key obstore refuses."""
    bucket.ask("PUT", f"{bucket.name}/{key}", b"picture")


def refusal_message(source):
    """Return the one-line message of a source that cannot be listed."""
    with pytest.raises(ConfigurationError) as raised:
        scan(source)
    assert "\n" not in raised.value.message
    return raised.value.message


def answer_first(count, status=503, body=SLOW):
    """Answer this many requests with an error, and later ones as usual."""
    answers = iter([(status, body)] * count)
    return lambda path: next(answers, None)


@pytest.fixture
def create_user(bucket):
    """Create users with these permissions and return their keys; from the first one on, the server checks every key."""

    def request(action, **fields):
        body = urlencode({"Action": action, "Version": "2010-05-08", **fields}).encode()
        return bucket.ask("POST", "", body, service="iam").decode()

    def create(*actions):
        name = f"{bucket.name}-{'-'.join(actions).replace(':', '')}"
        allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        request("CreateUser", UserName=name)
        request("PutUserPolicy", UserName=name, PolicyName="only", PolicyDocument=policy)
        response = request("CreateAccessKey", UserName=name)
        bucket.ask("POST", "moto-api/reset-auth", b"0")
        return [re.search(f"<{field}>(.*?)</{field}>", response)[1] for field in ("AccessKeyId", "SecretAccessKey")]

    yield create
    bucket.ask("POST", "moto-api/reset-auth", b"inf")


@pytest.fixture
def sign_in(monkeypatch):
    """Set the credentials that are used."""

    def set_key(name, secret):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    return set_key


@pytest.mark.slow
def test_scan_lists_several_pages_in_the_order_of_keys(bucket):
    """A page has 1,000 keys; keys without an image extension are skipped."""
    image_keys = [f"in/{number:04}.jpg" for number in range(1050)]
    bucket.fill([*image_keys, "in/0001.txt", "in/list", "other/a.jpg"])
    assert list_keys(f"{bucket.url}/in") == image_keys
    listings = [path for _, path, _ in bucket.front.asked if "list-type=2" in path]
    assert len(listings) == 3  # one request that checks access, and two pages


def test_scan_reads_a_prefix_as_a_folder(bucket):
    """`in` and `in/` list what is in `in/`, and nothing of `in2/`."""
    bucket.fill(["in/a.jpg", "in/b/c.PNG", "in2/d.jpg", "in.jpg"])
    assert list_keys(f"{bucket.url}/in") == list_keys(f"{bucket.url}/in/") == ["in/a.jpg", "in/b/c.PNG"]


def test_scan_accepts_a_single_object(bucket):
    """A folder named like an image is walked."""
    bucket.fill(["a.jpg", "b.jpg", "album.jpg/c.jpg"])
    assert list_keys(f"{bucket.url}/a.jpg") == ["a.jpg"]
    assert list_keys(f"{bucket.url}/album.jpg") == ["album.jpg/c.jpg"]


def test_scan_of_an_empty_prefix_is_empty(bucket):
    """It is not an error."""
    assert list_keys(f"{bucket.url}/nothing") == []


def test_found_object_has_uri_size_etag_and_time_in_utc(bucket):
    """They come from the listing."""
    bucket.put("in/a.jpg", b"12345")
    found = find_image(bucket)
    assert (found.uri, found.size) == (f"{bucket.url}/in/a.jpg", 5)
    assert found.version == '"827ccb0eea8a706c4c34a16891f84e7b"'
    assert found.modified.tzinfo == UTC
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "key", ["a b.jpg", "ü/ß.png", "a%20b.jpg", "a?b#c.jpg", "a+b~[1]*.jpg", "a\\b.jpg", "a'b\".jpg"]
)
def test_store_reads_keys_with_special_characters(bucket, key):
    bucket.put(quote(key))
    found = find_image(bucket)
    assert found.uri == f"{bucket.url}/{key}"
    assert create_store(bucket.url).read(found) == b"picture"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("size", [1000, 300_000])
def test_header_is_read_in_one_request_of_64_kib(bucket, kind, size):
    """Pixels after the header are not fetched."""
    bucket.put("a.png", encode_image(kind=kind) + bytes(size))
    found, reader = find_image(bucket), create_store(bucket.url)
    bucket.front.asked.clear()
    assert read_pages(found, reader, frames=False, most=1)[0].header.size == Size(300, 200)
    assert [part for _, _, part in bucket.front.asked] == ["bytes=0-65535"]


def test_long_header_is_read_in_few_requests(bucket):
    """The rest of the file is not fetched."""
    profile = bytes(500_000)
    bucket.put("a.jpg", encode_image(kind="JPEG", icc_profile=profile) + bytes(3_000_000))
    found, reader = find_image(bucket), create_store(bucket.url)
    bucket.front.asked.clear()
    assert read_pages(found, reader, frames=False, most=1)[0].header.size == Size(300, 200)
    assert 2 <= len(bucket.front.asked) <= 5
    assert int(bucket.front.asked[-1][2].rpartition("-")[2]) < 1_500_000


def test_store_reads_an_object_in_one_request(bucket):
    data = bytes(range(256)) * 4000
    bucket.put("a.jpg", data)
    found, reader = find_image(bucket), create_store(bucket.url)
    bucket.front.asked.clear()
    assert reader.read(found) == data
    assert [part for _, _, part in bucket.front.asked] == [None]


def test_feed_reads_headers_in_parallel_and_keeps_their_order(bucket):
    bucket.fill([f"{number:03}.png" for number in range(100)], encode_image())
    feed = Feed(
        resolve(Job(source=bucket.url), Settings(), sends=False), Tariff(get_rule("formula"), FREE, 400, 100, 300, 2048)
    )
    bucket.front.seconds, bucket.front.most_in_progress = 0.1, 0
    documents = feed.take(200)
    assert bucket.front.most_in_progress > 1
    assert [document.document for document in documents] == [f"{bucket.url}/{number:03}.png" for number in range(100)]
    assert {document.first.action for document in documents} == {"send"}


@pytest.mark.parametrize("method", ["open", "read"])
def test_store_refuses_an_object_changed_since_the_scan(bucket, method):
    """The billed bytes are the sent bytes; the next run reads the new version."""
    bucket.put("a.jpg", b"before")
    found = find_image(bucket)
    bucket.put("a.jpg", b"after!")
    assert read_error(bucket, found, method) == ("changed", False)


def test_stream_refuses_an_object_changed_between_two_requests(bucket):
    """A header is never read from two versions."""
    bucket.put("a.jpg", bytes(200_000))
    found = find_image(bucket)
    with create_store(bucket.url).open(found) as stream:
        bucket.put("a.jpg", bytes(200_001))
        with pytest.raises(DocumentError) as raised:
            stream.read()
    assert raised.value.kind == "changed"


@pytest.mark.parametrize("method", ["open", "read"])
def test_store_raises_missing_for_a_deleted_object(bucket, method):
    """The error is not final, since the object may come back."""
    bucket.put("a.jpg")
    found = find_image(bucket)
    bucket.delete("a.jpg")
    assert read_error(bucket, found, method) == ("missing", False)


@pytest.mark.parametrize("method", ["open", "read"])
def test_store_raises_forbidden_without_permission_to_read(bucket, create_user, sign_in, method):
    """The error is not final, since permissions change."""
    bucket.put("a.jpg")
    sign_in(*create_user("s3:ListBucket"))
    assert read_error(bucket, find_image(bucket), method) == ("forbidden", False)


def test_store_refuses_an_object_over_the_byte_limit_without_a_request(bucket):
    """The error is final."""
    assert read_error(bucket, Found(f"{bucket.url}/a.jpg", MAX_BYTES + 1)) == ("too_many_bytes", True)
    assert bucket.front.asked == []


def test_other_error_of_the_server_is_unreadable_and_not_final(bucket):
    bucket.put("a.jpg")
    found = find_image(bucket)
    bucket.front.answer = lambda path: (400, b"no")
    with pytest.raises(DocumentError, match="cannot be read") as raised:
        create_store(bucket.url).read(found)
    assert (raised.value.kind, raised.value.final) == ("unreadable", False)


def test_listing_is_retried_after_slow_down(bucket):
    bucket.put("a.jpg")
    bucket.front.answer = answer_first(2)
    assert list_keys(bucket.url) == ["a.jpg"]


def test_read_is_retried_after_slow_down(bucket):
    bucket.put("a.jpg")
    found = find_image(bucket)
    bucket.front.answer = answer_first(2)
    assert create_store(bucket.url).read(found) == b"picture"


def test_listing_that_fails_midway_keeps_its_objects_and_adds_a_problem(bucket):
    """The next run lists the rest again."""
    bucket.put("a.jpg")
    stream = scan(bucket.url)
    bucket.front.answer = answer_first(1, 403, b"<Error><Code>ExpiredToken</Code></Error>")
    (entry,) = stream
    assert (entry.uri, entry.problem.kind, entry.problem.final) == (bucket.url, "unreadable", False)
    assert "broke off: ExpiredToken" in entry.problem.message


def test_scan_refuses_a_missing_bucket_when_called(bucket):
    """The message names the source and the setting to check."""
    message = refusal_message("s3://no-such-bucket/in")
    assert message.startswith("source 's3://no-such-bucket/in' does not exist: no such bucket")
    assert "AWS_ENDPOINT_URL" in message


def test_scan_refuses_an_unknown_access_key_when_called(bucket, create_user, sign_in):
    """The message names the settings of the key, without their values."""
    create_user("s3:*")
    sign_in("AKIAWRONG", "hidden")
    message = refusal_message(bucket.url)
    assert "cannot be read with this key (InvalidAccessKeyId): check AWS_ACCESS_KEY_ID" in message
    assert "hidden" not in message


def test_scan_refuses_a_wrong_secret_key_when_called(bucket, create_user, sign_in):
    name, _ = create_user("s3:*")
    sign_in(name, "hidden")
    assert "cannot be read with this key (SignatureDoesNotMatch)" in refusal_message(bucket.url)


def test_scan_without_permission_to_list_names_the_permission(bucket, create_user, sign_in):
    sign_in(*create_user("s3:GetObject"))
    assert "may not be listed (AccessDenied): the key needs s3:ListBucket" in refusal_message(bucket.url)


def test_scan_without_credentials_names_the_settings(bucket, monkeypatch):
    """The message explains how to read a public bucket, too."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    message = refusal_message(bucket.url)
    assert "needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in message
    assert "AWS_SKIP_SIGNATURE=true" in message


def test_scan_reads_a_public_bucket_without_credentials(bucket, monkeypatch):
    """AWS_SKIP_SIGNATURE turns signing off."""
    bucket.put("a.jpg")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert list_keys(bucket.url) == ["a.jpg"]


def test_scan_uses_the_credentials_of_a_profile(bucket, create_user, sign_in, monkeypatch, tmp_path):
    """They are read from `~/.aws/credentials` where the environment has none."""
    bucket.put("a.jpg")
    name, secret = create_user("s3:*")
    (tmp_path / ".aws").mkdir()
    text = f"[other]\naws_access_key_id = {name}\naws_secret_access_key = {secret}\n"
    (tmp_path / ".aws" / "credentials").write_text(text)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert list_keys(bucket.url) == ["a.jpg"]


def test_scan_refuses_an_http_endpoint_unless_allowed(bucket, monkeypatch):
    """The message names the setting."""
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "an endpoint at http:// needs AWS_ALLOW_HTTP=true" in refusal_message(bucket.url)


def test_scan_gives_up_on_a_server_that_stays_busy(bucket):
    """The message has the server's error code."""
    bucket.front.answer = lambda path: (503, SLOW)
    assert "cannot be listed: SlowDown" in refusal_message(bucket.url)


@pytest.mark.parametrize("odd_key", ["in//b.jpg", "in/../x.jpg", "in/./x.jpg", "in/t%09b.jpg", "in/%01.jpg"])
def test_scan_skips_only_an_odd_key(bucket, odd_key):
    """Other keys of its page are found, and the odd key is a problem of its own."""
    put_raw(bucket, odd_key)
    bucket.fill(["in/a.jpg", "in/c.jpg", "in/z/y.jpg"])
    listing = Listing()
    images = list(scan(f"{bucket.url}/in", listing=listing))
    valid_keys = [image.uri.removeprefix(f"{bucket.url}/") for image in images if image.problem is None]
    (odd_image,) = [image for image in images if image.problem]
    assert valid_keys == ["in/a.jpg", "in/c.jpg", "in/z/y.jpg"]
    assert (odd_image.problem.kind, odd_image.problem.stage, odd_image.uri) == (
        "unreadable",
        "scan",
        f"{bucket.url}/{unquote(odd_key)}",
    )
    assert listing.incomplete is None


def test_scan_finds_equal_objects_by_either_api(bucket):
    """An odd key beside them changes the API, but not size, version and time."""
    bucket.fill([quote(key) for key in ("in/a b+c.jpg", "in/ü&<.jpg", "in/z.jpg")])
    before = list(scan(f"{bucket.url}/in"))
    put_raw(bucket, "in//b.jpg")
    after = [image for image in scan(f"{bucket.url}/in") if image.problem is None]
    assert after == before


@pytest.mark.slow
def test_scan_continues_after_an_odd_key_on_a_later_page(bucket):
    """Every image is found once, in order."""
    names = [f"in/{number:05}.jpg" for number in range(1100)]
    bucket.fill(names)
    put_raw(bucket, "in/01050//x.jpg")
    keys = [image.uri.removeprefix(f"{bucket.url}/") for image in scan(f"{bucket.url}/in") if not image.problem]
    assert keys == names


def test_listing_is_incomplete_when_both_apis_fail(bucket):
    bucket.fill(["a.jpg"])
    put_raw(bucket, "b//c.jpg")
    listing = Listing()
    stream = scan(bucket.url, listing=listing)
    bucket.front.answer = lambda path: (403, b"<Error><Code>ExpiredToken</Code></Error>") if "x-id" in path else None
    assert [image.problem.kind for image in stream] == ["unreadable"]
    assert "ExpiredToken" in listing.incomplete


def test_scan_skips_hidden_and_excluded_keys(bucket):
    """Each folder counts once; a hidden key that an include names is read."""
    bucket.fill(["in/a.jpg", "in/.thumbnails/1.jpg", "in/.thumbnails/2.jpg", "in/._a.jpg", "in/b.txt", "in/x/c.jpg"])
    listing = Listing()
    images = list(scan(f"{bucket.url}/in", Selection(exclude=("x/**",)), listing))
    assert [image.uri for image in images] == [f"{bucket.url}/in/a.jpg"]
    assert listing.passed_over == {"thumbnails": 1, "AppleDouble": 1, ".txt": 1, "excluded": 1}
    included = list(scan(f"{bucket.url}/in", Selection((".thumbnails/1.jpg",))))
    assert [image.uri for image in included] == [f"{bucket.url}/in/.thumbnails/1.jpg"]


@pytest.mark.parametrize("source", ["s3://user:hidden@bucket/in", "s3://bucket/in?X-Amz-Signature=hidden"])
def test_scan_refuses_a_source_with_a_secret(source):
    """Sources are written to tables and logs."""
    message = refusal_message(source)
    assert "holds more than a location" in message
    assert "hidden" not in message


@pytest.mark.parametrize("folder", ["Invoices #1", "What?", "a?b=1#page=2", "50% & more"])
def test_scan_reads_a_prefix_with_url_punctuation(bucket, folder):
    """Object URLs have neither query nor fragment."""
    bucket.fill([quote(f"{folder}/a.jpg"), "other/b.jpg"])
    (found,) = scan(f"{bucket.url}/{folder}/")
    assert found.uri == f"{bucket.url}/{folder}/a.jpg"
    assert create_store(bucket.url).read(found) == b"picture"


def test_scan_refuses_a_source_without_a_bucket():
    assert "names no bucket: write gs://bucket/prefix" in refusal_message("gs://")


def test_scan_of_azure_needs_an_account(monkeypatch):
    """The bucket's name alone does not identify its account."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert "names no account: set AZURE_STORAGE_ACCOUNT_NAME" in refusal_message("az://container/in")
