"""__init__.py, base.py, folder.py, bucket.py: a folder and a bucket behave alike."""

import os
import threading

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from extractors.core.errors import ConfigurationError, OutputError
from extractors.record.output import open_output
from extractors.record.output.base import reading, writing
from extractors.record.output.folder import FolderOutput

ROWS = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
A: dict[str, pl.DataType] = {"a": pl.Int64()}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
SLOW = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@pytest.fixture(params=["folder", "bucket", "prefix"])
def root(request, tmp_path):
    """An empty root: a local folder, a whole bucket, or a prefix with unusual characters."""
    if request.param == "folder":
        return open_output(str(tmp_path / "out [1]"))
    bucket = request.getfixturevalue("bucket")
    return open_output(bucket.url if request.param == "bucket" else f"{bucket.url}/a b%20ü/out*")


@pytest.fixture
def remote(bucket):
    """A root in a bucket whose server can be made to refuse requests."""
    return open_output(f"{bucket.url}/out")


def test_written_frame_is_read_back(root):
    """The frame may be lazy, and is then computed while it is written."""
    root.write("t/d=1/one.parquet", ROWS)
    root.write("t/d=1/two.parquet", root.scan(["t/d=1/one.parquet"]).filter(pl.col("a") > 1), "scratch/two")
    frame = root.scan(["t/d=1/one.parquet", "t/d=1/two.parquet"]).collect()
    assert_frame_equal(frame, pl.concat([ROWS, ROWS.tail(1)]))


def test_write_replaces_a_file(root):
    """A table that is published again has the same path."""
    root.write("t/one.parquet", ROWS)
    root.write("t/one.parquet", ROWS.head(1))
    assert root.scan(["t/one.parquet"]).collect().height == 1


def test_scan_fills_missing_columns_and_ignores_others(root):
    """Files of older versions lack columns, and those of newer ones have more."""
    root.write("t/one.parquet", ROWS)
    frame = root.scan(["t/one.parquet"], A | {"c": pl.String()}).collect()
    assert frame.to_dicts() == [{"a": 1, "c": None}, {"a": 2, "c": None}]


def test_exists_is_true_for_a_written_file_only(root):
    assert not root.exists("t/one.parquet")
    root.write("t/one.parquet", ROWS)
    assert root.exists("t/one.parquet")
    assert not root.exists("t/one.parquet/x")


def test_list_files_returns_matching_keys_sorted(root):
    """A star matches within one part of the key, and `t` does not match `t2`."""
    for key in ("t/d=2/b", "t/d=1/b", "t/d=1/a", "t/d=1/x.parquet/a", "t/a", "t2/d=1/a"):
        root.write(f"{key}.parquet", ROWS)
    assert root.list_files("t", "d=*/*.parquet") == ["t/d=1/a.parquet", "t/d=1/b.parquet", "t/d=2/b.parquet"]
    assert root.list_files("t/d=1", "a*.parquet") == ["t/d=1/a.parquet"]
    assert root.list_files("none", "*.parquet") == []


def test_map_files_keeps_the_order_of_the_keys(root):
    keys = [f"t/{number:02}.parquet" for number in range(12)]
    for number, key in enumerate(keys):
        root.write(key, pl.DataFrame({"a": [number]}))
    assert list(root.map_files(lambda key: root.scan([key]).collect().item(), keys)) == list(range(12))


def test_list_folders_returns_folders_and_no_files(root):
    for key in ("t/0010/a", "t/0002/x/a", "t/b"):
        root.write(f"{key}.parquet", ROWS)
    assert root.list_folders("t") == ["0002", "0010"]
    assert root.list_folders("none") == []


def test_remove_folder_keeps_other_folders(root):
    for key in ("s/run/0001/a", "s/run/0001/b", "s/run/0002/a"):
        root.write(f"{key}.parquet", ROWS)
    root.remove_folder("s/run/0001")
    assert root.list_folders("s/run") == ["0002"]
    root.remove_folder("s/run/0002")
    assert root.list_folders("s") == []


def test_create_staging_leaves_no_files(root):
    root.create_staging("staging/run/0001", ["results", "runs"])
    assert root.list_files("staging/run/0001", "*") == []
    root.remove_empty("staging/run/0001")
    assert root.list_folders("staging") == []


def test_read_error_names_the_root_in_one_line(root):
    with pytest.raises(ConfigurationError) as raised, reading(root):
        root.scan(["t/none.parquet"], A).collect()
    assert raised.value.message.startswith(f"output {str(root)!r} cannot be read: ")
    assert "\n" not in raised.value.message


def test_file_is_not_visible_before_it_is_complete(tmp_path):
    root, listings = FolderOutput(tmp_path), []

    def list_while_writing(frame):
        listings.append(root.list_files("t", "*.parquet"))
        return frame

    root.write("t/one.parquet", ROWS.lazy().map_batches(list_while_writing), "scratch/one")
    assert listings
    assert not any(listings)
    assert root.list_files("t", "*") == ["t/one.parquet"]


# --- buckets only


def test_large_file_is_not_visible_before_its_upload_is_complete(remote, bucket):
    """It is uploaded in parts."""
    rows, visible = pl.DataFrame({"a": [os.urandom(500).hex() for _ in range(20_000)]}), []

    def check_visible(method, path):
        if method == "PUT" and "partNumber" in path:
            visible.append(remote.exists("t/large.parquet"))

    bucket.front.refuse = check_visible
    remote.write("t/large.parquet", rows)
    assert len(visible) > 1
    assert not any(visible)
    assert_frame_equal(remote.scan(["t/large.parquet"]).collect(), rows)


def test_failed_upload_leaves_no_file(remote, bucket):
    rows = pl.DataFrame({"a": [os.urandom(500).hex() for _ in range(20_000)]})
    bucket.front.refuse = lambda method, path: (403, DENIED) if "partNumber=2" in path else None
    message = r"may not be written \(AccessDenied\): the key needs s3:PutObject"
    with pytest.raises(OutputError, match=message), writing(remote):
        remote.write("t/large.parquet", rows)
    assert remote.list_files("t", "*") == []


def test_scan_downloads_only_the_selected_columns(remote, bucket):
    """Reading the history takes a few columns of each file."""
    rows = pl.DataFrame({"a": range(3000), "b": [os.urandom(500).hex() for _ in range(3000)]})
    remote.write("t/wide.parquet", rows)
    bucket.front.sent = 0
    assert remote.scan(["t/wide.parquet"], A).collect()["a"].sum() == sum(range(3000))
    assert bucket.front.sent < 400_000 < rows.estimated_size()


def test_map_files_reads_files_concurrently(remote, bucket):
    """A server may take long to answer."""
    for number in range(16):
        remote.write(f"t/{number:02}.parquet", ROWS)
    bucket.front.seconds, bucket.front.most_in_progress = 0.2, 0
    heights = list(remote.map_files(lambda key: remote.scan([key]).collect().height, remote.list_files("t", "*")))
    assert heights == [2] * 16
    assert bucket.front.most_in_progress > 1


def test_busy_server_is_retried(remote, bucket):
    """This holds for listing, writing and reading."""
    refusals_left = {"PUT": 2, "GET": 2}

    def refuse(method, path):
        refusals_left[method] = refusals_left.get(method, 0) - 1
        return (503, SLOW) if refusals_left[method] >= 0 else None

    bucket.front.refuse = refuse
    remote.write("t/one.parquet", ROWS)
    assert remote.list_files("t", "*") == ["t/one.parquet"]
    refusals_left["GET"] = 2
    assert remote.scan(["t/one.parquet"]).collect().height == 2


def test_missing_bucket_is_refused(bucket):
    """The error is the same for reading and for writing."""
    root = open_output("s3://no-such-bucket/out")
    with pytest.raises(ConfigurationError, match="output 's3://no-such-bucket/out' does not exist: no such bucket"):
        root.create_staging("staging/run/0001", [])
    with pytest.raises(ConfigurationError, match="output 's3://no-such-bucket/out' does not exist"), reading(root):
        root.list_files("runs", "*")


@pytest.mark.parametrize("methods", [{"PUT"}, {"DELETE", "POST"}], ids=["put", "delete"])
def test_missing_write_or_delete_permission_is_named(remote, bucket, methods):
    """Both are tried before anything is sent."""
    bucket.front.refuse = lambda method, path: (403, DENIED) if method in methods else None
    with pytest.raises(ConfigurationError) as raised:
        remote.create_staging("staging/run/0001", [])
    assert "may not be written (AccessDenied): the key needs s3:PutObject and s3:DeleteObject" in raised.value.message


def test_missing_list_or_read_permission_is_named(remote, bucket):
    """Listing and reading need different permissions."""
    remote.write("t/one.parquet", ROWS)
    bucket.front.answer = lambda path: (403, DENIED)
    with (
        pytest.raises(ConfigurationError, match=r"may not be listed \(AccessDenied\): .* s3:ListBucket"),
        reading(remote),
    ):
        remote.list_files("t", "*")
    with (
        pytest.raises(
            OutputError,
            match=r"may not be read \(AccessDenied\): .* s3:GetObject; all answers received so far are kept",
        ),
        writing(remote),
    ):
        remote.scan(["t/one.parquet"]).collect()


def test_two_concurrent_removals_of_a_folder_succeed(remote):
    """Two processes may publish the same volume."""
    for number in range(20):
        remote.write(f"s/run/0001/{number}.parquet", ROWS)
    threads = [threading.Thread(target=remote.remove_folder, args=("s/run/0001",)) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert remote.list_files("s", "run/0001/*") == []
    remote.remove_folder("s/run/0001")


def test_aws_profile_is_used_for_writing_and_reading(bucket, monkeypatch, tmp_path):
    """Polars gets the same credentials as obstore."""
    (tmp_path / ".aws").mkdir()
    credentials = "[other]\naws_access_key_id = AKIATILEWISE\naws_secret_access_key = s\nregion = us-east-1\n"
    address = bucket.environ["AWS_ENDPOINT_URL"]
    (tmp_path / ".aws" / "credentials").write_text(credentials)
    (tmp_path / ".aws" / "config").write_text(f"[profile other]\nendpoint_url = {address}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "other")
    root = open_output(f"{bucket.url}/out")
    root.write("t/one.parquet", ROWS)
    assert root.scan(["t/one.parquet"]).collect().height == 2
