"""`tilewise run` and `estimate` on a bucket: over HTTP from the listing to the rows."""

import io
import json

import pytest
from PIL import Image

MOST = ("--schema", "caption", "--yes", "--json", "--direct")


def picture(number):
    """A picture's bytes, each another one."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), (8 * (number % 32), 90, 40 + 8 * (number // 32))).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def receipts(bucket, workspace, echo):
    """A workspace that reads a bucket of twelve pictures, a broken one and a text, against an endpoint that answers."""
    for number in range(12):
        bucket.put(f"in/{number:02}.jpg", picture(number))
    bucket.put("in/broken.png", b"no picture")
    bucket.put("in/notes.txt", b"words")
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo}
    return workspace


def test_a_bucket_is_read_and_skipped_the_second_time(bucket, receipts):
    """Every image is a row under its URL; what is done is done, and what is new is read."""
    ended = receipts.run("run", f"{bucket.url}/in", *MOST)
    assert ended.exit_code == 1, ended.output  # one of them is no image
    row = json.loads(ended.stdout)
    assert (row["found"], row["accepted"], row["rejected"], row["source"]) == (13, 12, 1, f"{bucket.url}/in")
    results = receipts.table("results")
    assert sorted(results["_image"]) == [f"{bucket.url}/in/{number:02}.jpg" for number in range(12)]
    assert results["_version"].str.contains('^"[0-9a-f]{32}"$').all()
    assert receipts.only("failures")["kind"] == "not_an_image"

    bucket.put("in/05.jpg", picture(205))
    row = json.loads(receipts.run("run", f"{bucket.url}/in", *MOST).stdout)
    assert (row["found"], row["skipped"], row["accepted"], row["calls"]) == (13, 12, 1, 1)


def test_bytes_are_fetched_once_for_a_header_and_once_to_be_sent(bucket, receipts):
    """A run asks for each image twice, whatever becomes of it."""
    bucket.front.asked.clear()
    receipts.run("run", f"{bucket.url}/in", *MOST)
    parts = [part for _, path, part in bucket.front.asked if path.endswith("/03.jpg")]
    assert parts == ["bytes=0-65535", None]


def test_an_object_that_changes_after_it_was_found_is_a_failure(bucket, receipts):
    """It is not sent as it is now under the version that it was; the next run takes it."""
    front, seen = bucket.front, []

    def changes(path):
        if path.endswith("/03.jpg"):
            seen.append(path)
            if len(seen) == 2:
                bucket.put("in/03.jpg", picture(203))

    front.answer = changes
    row = json.loads(receipts.run("run", f"{bucket.url}/in", *MOST).stdout)
    assert (row["accepted"], row["rejected"]) == (11, 2)
    failures = {each["document"].rpartition("/")[2]: each for each in receipts.table("failures").to_dicts()}
    assert (failures["03.jpg"]["kind"], failures["03.jpg"]["final"]) == ("changed", False)
    front.answer = lambda path: None
    row = json.loads(receipts.run("run", f"{bucket.url}/in", *MOST).stdout)
    assert (row["accepted"], row["skipped"]) == (1, 12)


def test_an_estimate_needs_headers_only(bucket, receipts):
    """Nothing but 64 KiB of each image is asked for."""
    bucket.front.asked.clear()
    said = json.loads(receipts.run("estimate", f"{bucket.url}/in", "--json").stdout)
    assert (said["documents"], said["rejected"], said["sampled"]) == (13, 1, False)
    assert {part for _, path, part in bucket.front.asked if "list-type" not in path} == {"bytes=0-65535"}


def test_a_sample_asks_for_no_more_headers_than_it_says(bucket, receipts):
    """All are counted, five are looked at, and people are told how sure that is."""
    bucket.front.asked.clear()
    said = json.loads(receipts.run("estimate", f"{bucket.url}/in", "--sample", 5, "--json").stdout)
    assert (said["documents"], said["sampled"]) == (13, True)
    assert len([path for _, path, _ in bucket.front.asked if "list-type" not in path]) == 5
    assert "95 %" in receipts.run("estimate", f"{bucket.url}/in", "--sample", 5).stdout
    assert receipts.run("estimate", f"{bucket.url}/in", "--sample", "few").exit_code == 2


@pytest.mark.parametrize("command", [("estimate",), ("run", *MOST), ("run", "--schema", "caption", "--dry-run")])
def test_a_bucket_that_does_not_exist_ends_it_before_anything_is_spent(receipts, command):
    """Exit 2 and one line that names the source."""
    name, *flags = command
    ended = receipts.run(name, "s3://no-such-bucket/in", *flags)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("tilewise: source 's3://no-such-bucket/in' does not exist")
    assert len(ended.stderr.splitlines()) == 1
    assert receipts.table("calls").is_empty()
