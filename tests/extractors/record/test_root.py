"""root.py: what a root promises to whoever writes tables and reads them."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from extractors.errors import ConfigurationError
from extractors.record.root import Folder, reading, root_of

ROWS = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
A: dict[str, pl.DataType] = {"a": pl.Int64()}


@pytest.fixture(params=["folder"])
def root(request, tmp_path):
    """A root that is empty."""
    return root_of(str(tmp_path / "out [1]"))


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
    for key in ("t/d=2/b", "t/d=1/b", "t/d=1/a", "t/d=1/x/a", "t/a", "t2/d=1/a"):
        root.write(f"{key}.parquet", ROWS)
    assert root.files("t", "d=*/*.parquet") == ["t/d=1/a.parquet", "t/d=1/b.parquet", "t/d=2/b.parquet"]
    assert root.files("t/d=1", "a*.parquet") == ["t/d=1/a.parquet"]
    assert root.files("none", "*.parquet") == []


def test_folders_are_listed_by_name(root):
    """Files are none."""
    for key in ("t/0010/a", "t/0002/x/a", "t/b"):
        root.write(f"{key}.parquet", ROWS)
    assert root.folders("t") == ["0002", "0010"]
    assert root.folders("none") == []


def test_a_folder_is_removed_with_all_that_is_in_it(root):
    """And nothing beside it."""
    for key in ("s/run/0001/a", "s/run/0001/b", "s/run/0002/a"):
        root.write(f"{key}.parquet", ROWS)
    root.remove("s/run/0001")
    assert root.folders("s/run") == ["0002"]
    root.remove("s/run/0002")
    assert root.folders("s") == []


def test_a_root_that_can_be_written_begins_and_leaves_nothing(root):
    """There is nothing staged before something is."""
    root.begin("staging/run/0001", ["results", "runs"])
    assert root.files("staging/run/0001", "*") == []
    root.tidy("staging/run/0001")
    assert root.folders("staging") == []


def test_a_file_that_cannot_be_read_is_said_in_one_line(root):
    """It names the root."""
    with pytest.raises(ConfigurationError) as raised, reading(root):
        root.scan(["t/none.parquet"], A).collect()
    assert raised.value.message.startswith(f"output {str(root)!r} cannot be read: ")
    assert "\n" not in raised.value.message


def test_nothing_is_seen_of_a_file_before_it_is_whole(tmp_path):
    """Not under its name."""
    root, seen = Folder(tmp_path), []

    def look(each):
        seen.append(root.files("t", "*.parquet"))
        return each

    root.write("t/one.parquet", ROWS.lazy().map_batches(look), "scratch/one")
    assert seen
    assert not any(seen)
    assert root.files("t", "*") == ["t/one.parquet"]
