"""`tilewise run` and `estimate` on a bucket, over HTTP."""

import io
import json

import pytest
from PIL import Image

MOST = ("--schema", "caption", "--yes", "--json", "--direct")


def picture(number):
    """The bytes of a JPEG, different for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), (8 * (number % 32), 90, 40 + 8 * (number // 32))).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def receipts(bucket, workspace, echo):
    """A workspace with a bucket of twelve images, a broken one and a text file, and an endpoint."""
    for number in range(12):
        bucket.put(f"in/{number:02}.jpg", picture(number))
    bucket.put("in/broken.png", b"no picture")
    bucket.put("in/notes.txt", b"words")
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo}
    return workspace


def test_bucket_is_read_once_and_changed_objects_again(bucket, receipts):
    """Every image is a row under its URL; a second run reads only the object that changed."""
    result = receipts.run("run", f"{bucket.url}/in", *MOST)
    assert result.exit_code == 1, result.output  # one of them is no image
    row = json.loads(result.stdout)
    assert (row["found"], row["accepted"], row["rejected"], row["source"]) == (13, 12, 1, f"{bucket.url}/in")
    results = receipts.table("results")
    assert sorted(results["_image"]) == [f"{bucket.url}/in/{number:02}.jpg" for number in range(12)]
    assert results["_version"].str.contains('^"[0-9a-f]{32}"$').all()
    assert receipts.only("failures")["kind"] == "not_an_image"

    bucket.put("in/05.jpg", picture(205))
    row = json.loads(receipts.run("run", f"{bucket.url}/in", *MOST).stdout)
    assert (row["found"], row["skipped"], row["accepted"], row["calls"]) == (13, 12, 1, 1)


def test_run_fetches_each_object_for_header_and_body_once(bucket, receipts):
    bucket.front.asked.clear()
    receipts.run("run", f"{bucket.url}/in", *MOST)
    parts = [part for _, path, part in bucket.front.asked if path.endswith("/03.jpg")]
    assert parts == ["bytes=0-65535", None]


def test_object_changed_during_run_is_a_retriable_failure(bucket, receipts):
    """Its new bytes are not sent under the old version; the next run reads it."""
    front, requests = bucket.front, []

    def change(path):
        if path.endswith("/03.jpg"):
            requests.append(path)
            if len(requests) == 2:
                bucket.put("in/03.jpg", picture(203))

    front.answer = change
    row = json.loads(receipts.run("run", f"{bucket.url}/in", *MOST).stdout)
    assert (row["accepted"], row["rejected"]) == (11, 2)
    failures = {failure["document"].rpartition("/")[2]: failure for failure in receipts.table("failures").to_dicts()}
    assert (failures["03.jpg"]["kind"], failures["03.jpg"]["final"]) == ("changed", False)
    front.answer = lambda path: None
    row = json.loads(receipts.run("run", f"{bucket.url}/in", *MOST).stdout)
    assert (row["accepted"], row["skipped"]) == (1, 12)


def test_estimate_fetches_headers_only(bucket, receipts):
    """The only requests for images are for their first 64 KiB."""
    bucket.front.asked.clear()
    estimated = json.loads(receipts.run("estimate", f"{bucket.url}/in", "--json").stdout)
    assert (estimated["documents"], estimated["rejected"], estimated["sampled"]) == (13, 1, False)
    assert {part for _, path, part in bucket.front.asked if "list-type" not in path} == {"bytes=0-65535"}


def test_estimate_with_sample_fetches_that_many_headers(bucket, receipts):
    """All documents are counted, and the text output states the confidence."""
    bucket.front.asked.clear()
    estimated = json.loads(receipts.run("estimate", f"{bucket.url}/in", "--sample", 5, "--json").stdout)
    assert (estimated["documents"], estimated["sampled"]) == (13, True)
    assert len([path for _, path, _ in bucket.front.asked if "list-type" not in path]) == 5
    assert "95 %" in receipts.run("estimate", f"{bucket.url}/in", "--sample", 5).stdout
    assert receipts.run("estimate", f"{bucket.url}/in", "--sample", "few").exit_code == 2


@pytest.mark.parametrize("command", [("estimate",), ("run", *MOST), ("run", "--schema", "caption", "--dry-run")])
def test_missing_bucket_ends_command_before_any_call(receipts, command):
    """Exit 2 and one line that names the source."""
    name, *flags = command
    result = receipts.run(name, "s3://no-such-bucket/in", *flags)
    assert result.exit_code == 2
    assert result.stderr.startswith("tilewise: source 's3://no-such-bucket/in' does not exist")
    assert len(result.stderr.splitlines()) == 1
    assert receipts.table("calls").is_empty()
