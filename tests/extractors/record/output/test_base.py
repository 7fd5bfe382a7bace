"""__init__.py, base.py, folder.py, bucket.py: a folder and a bucket keep the same promises."""

import os
import threading
import time

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
    """A root that is empty: on this machine, a whole bucket, or a folder of one whose name is odd."""
    if request.param == "folder":
        return open_output(str(tmp_path / "out [1]"))
    bucket = request.getfixturevalue("bucket")
    return open_output(bucket.url if request.param == "bucket" else f"{bucket.url}/a b%20ü/out*")


@pytest.fixture
def remote(bucket):
    """A root in a bucket, whose server may be told to refuse."""
    return open_output(f"{bucket.url}/out")


def test_what_is_written_is_read(root):
    """A frame, or one that is not there before it is written."""
    root.write("t/d=1/one.parquet", ROWS)
    root.write("t/d=1/two.parquet", root.scan(["t/d=1/one.parquet"]).filter(pl.col("a") > 1), "scratch/two")
    both = root.scan(["t/d=1/one.parquet", "t/d=1/two.parquet"]).collect()
    assert_frame_equal(both, pl.concat([ROWS, ROWS.tail(1)]))


def test_a_file_is_written_over(root):
    """Whoever publishes a table again writes the same file."""
    root.write("t/one.parquet", ROWS)
    root.write("t/one.parquet", ROWS.head(1))
    assert root.scan(["t/one.parquet"]).collect().height == 1


def test_columns_may_be_more_or_fewer_than_wanted(root):
    """A file of an older version has nulls, a newer one's further columns are passed over."""
    root.write("t/one.parquet", ROWS)
    found = root.scan(["t/one.parquet"], A | {"c": pl.String()}).collect()
    assert found.to_dicts() == [{"a": 1, "c": None}, {"a": 2, "c": None}]


def test_a_file_is_there_or_not(root):
    """A folder of its name is no file of its name, and nothing is there at first."""
    assert not root.exists("t/one.parquet")
    root.write("t/one.parquet", ROWS)
    assert root.exists("t/one.parquet")
    assert not root.exists("t/one.parquet/x")


def test_files_are_listed_by_pattern_and_sorted(root):
    """A star stays within its part of a key, and a folder is no beginning of another's name."""
    for key in ("t/d=2/b", "t/d=1/b", "t/d=1/a", "t/d=1/x.parquet/a", "t/a", "t2/d=1/a"):
        root.write(f"{key}.parquet", ROWS)
    assert root.list_files("t", "d=*/*.parquet") == ["t/d=1/a.parquet", "t/d=1/b.parquet", "t/d=2/b.parquet"]
    assert root.list_files("t/d=1", "a*.parquet") == ["t/d=1/a.parquet"]
    assert root.list_files("none", "*.parquet") == []


def test_files_are_read_one_by_one_in_their_order(root):
    """However many are under way at a time."""
    keys = [f"t/{number:02}.parquet" for number in range(12)]
    for number, key in enumerate(keys):
        root.write(key, pl.DataFrame({"a": [number]}))
    assert list(root.map_files(lambda key: root.scan([key]).collect().item(), keys)) == list(range(12))


def test_folders_are_listed_by_name(root):
    """Files are none."""
    for key in ("t/0010/a", "t/0002/x/a", "t/b"):
        root.write(f"{key}.parquet", ROWS)
    assert root.list_folders("t") == ["0002", "0010"]
    assert root.list_folders("none") == []


def test_a_folder_is_removed_with_all_that_is_in_it(root):
    """And nothing beside it."""
    for key in ("s/run/0001/a", "s/run/0001/b", "s/run/0002/a"):
        root.write(f"{key}.parquet", ROWS)
    root.remove_folder("s/run/0001")
    assert root.list_folders("s/run") == ["0002"]
    root.remove_folder("s/run/0002")
    assert root.list_folders("s") == []


def test_a_root_that_can_be_written_begins_and_leaves_nothing(root):
    """There is nothing staged before something is."""
    root.create_staging("staging/run/0001", ["results", "runs"])
    assert root.list_files("staging/run/0001", "*") == []
    root.remove_empty("staging/run/0001")
    assert root.list_folders("staging") == []


def test_a_file_that_cannot_be_read_is_said_in_one_line(root):
    """It names the root."""
    with pytest.raises(ConfigurationError) as raised, reading(root):
        root.scan(["t/none.parquet"], A).collect()
    assert raised.value.message.startswith(f"output {str(root)!r} cannot be read: ")
    assert "\n" not in raised.value.message


def test_nothing_is_seen_of_a_file_before_it_is_whole(tmp_path):
    """Not under its name."""
    root, seen = FolderOutput(tmp_path), []

    def look(each):
        seen.append(root.list_files("t", "*.parquet"))
        return each

    root.write("t/one.parquet", ROWS.lazy().map_batches(look), "scratch/one")
    assert seen
    assert not any(seen)
    assert root.list_files("t", "*") == ["t/one.parquet"]


# --- what only a bucket does


def test_a_large_file_appears_whole(remote, bucket):
    """It goes up in parts, and is not there before the last of them."""
    rows, seen = pl.DataFrame({"a": [os.urandom(500).hex() for _ in range(20_000)]}), []

    def look(method, path):
        if method == "PUT" and "partNumber" in path:
            seen.append(remote.exists("t/large.parquet"))

    bucket.front.refuse = look
    remote.write("t/large.parquet", rows)
    assert len(seen) > 1
    assert not any(seen)
    assert_frame_equal(remote.scan(["t/large.parquet"]).collect(), rows)


def test_an_upload_that_breaks_off_leaves_no_file(remote, bucket):
    """Half a file is none."""
    rows = pl.DataFrame({"a": [os.urandom(500).hex() for _ in range(20_000)]})
    bucket.front.refuse = lambda method, path: (403, DENIED) if "partNumber=2" in path else None
    refused = r"may not be written \(AccessDenied\): the key needs s3:PutObject"
    with pytest.raises(OutputError, match=refused), writing(remote):
        remote.write("t/large.parquet", rows)
    assert remote.list_files("t", "*") == []


def test_only_the_columns_asked_for_are_fetched(remote, bucket):
    """Deciding what is done costs a few columns of every file, not the files."""
    rows = pl.DataFrame({"a": range(3000), "b": [os.urandom(500).hex() for _ in range(3000)]})
    remote.write("t/wide.parquet", rows)
    bucket.front.sent = 0
    assert remote.scan(["t/wide.parquet"], A).collect()["a"].sum() == sum(range(3000))
    assert bucket.front.sent < 400_000 < rows.estimated_size()


def test_several_files_are_read_at_once(remote, bucket):
    """Years of nights are read in seconds, however long a server takes to answer."""
    for number in range(16):
        remote.write(f"t/{number:02}.parquet", ROWS)
    bucket.front.seconds = 0.2
    started = time.monotonic()
    found = list(remote.map_files(lambda key: remote.scan([key]).collect().height, remote.list_files("t", "*")))
    assert time.monotonic() - started < 2.5  # one by one it takes at least 3.2
    assert found == [2] * 16


def test_a_busy_server_is_asked_again(remote, bucket):
    """By whoever lists, writes and reads."""
    busy = {"PUT": 2, "GET": 2}

    def refuse(method, path):
        busy[method] = busy.get(method, 0) - 1
        return (503, SLOW) if busy[method] >= 0 else None

    bucket.front.refuse = refuse
    remote.write("t/one.parquet", ROWS)
    assert remote.list_files("t", "*") == ["t/one.parquet"]
    busy["GET"] = 2
    assert remote.scan(["t/one.parquet"]).collect().height == 2


def test_a_bucket_that_does_not_exist_is_refused(bucket):
    """By whoever wants to read it, and by whoever wants to write."""
    root = open_output("s3://no-such-bucket/out")
    with pytest.raises(ConfigurationError, match="output 's3://no-such-bucket/out' does not exist: no such bucket"):
        root.create_staging("staging/run/0001", [])
    with pytest.raises(ConfigurationError, match="output 's3://no-such-bucket/out' does not exist"), reading(root):
        root.list_files("runs", "*")


@pytest.mark.parametrize("refused", [{"PUT"}, {"DELETE", "POST"}], ids=["put", "delete"])
def test_who_may_not_write_or_delete_is_told_the_permission(remote, bucket, refused):
    """Both are needed, and both are tried before anything is sent."""
    bucket.front.refuse = lambda method, path: (403, DENIED) if method in refused else None
    with pytest.raises(ConfigurationError) as raised:
        remote.create_staging("staging/run/0001", [])
    assert "may not be written (AccessDenied): the key needs s3:PutObject and s3:DeleteObject" in raised.value.message


def test_who_may_not_list_or_read_is_told_the_permission(remote, bucket):
    """A listing needs another one than an object."""
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


def test_two_that_remove_the_same_folder_both_end(remote):
    """Whoever finishes a volume that another one finishes, too."""
    for number in range(20):
        remote.write(f"s/run/0001/{number}.parquet", ROWS)
    both = [threading.Thread(target=remote.remove_folder, args=("s/run/0001",)) for _ in range(2)]
    [each.start() for each in both]
    [each.join() for each in both]
    assert remote.list_files("s", "run/0001/*") == []
    remote.remove_folder("s/run/0001")


def test_a_profile_signs_in_for_writing_and_reading(bucket, monkeypatch, tmp_path):
    """Polars is given the keys that obstore is given."""
    (tmp_path / ".aws").mkdir()
    written = "[other]\naws_access_key_id = AKIATILEWISE\naws_secret_access_key = s\nregion = us-east-1\n"
    address = bucket.environ["AWS_ENDPOINT_URL"]
    (tmp_path / ".aws" / "credentials").write_text(written)
    (tmp_path / ".aws" / "config").write_text(f"[profile other]\nendpoint_url = {address}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "other")
    root = open_output(f"{bucket.url}/out")
    root.write("t/one.parquet", ROWS)
    assert root.scan(["t/one.parquet"]).collect().height == 2
