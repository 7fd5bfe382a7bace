"""row_index.py: a published row is found by its key if it may be copied."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from support.runs import vary

from extractors.core import Copied
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns, row_index
from extractors.record.tables.row_index import DIGITS, RowIndex, RowPlace
from extractors.record.tables.volume import PartId, Volume
from extractors.record.tables.writer import Tables

ONE, TWO = "f" * 64, "0" * 64


@pytest.fixture
def publish(tmp_path, model, terms):
    """Returns a function that publishes a run with these documents."""

    def publish_run(*ends, run="20261119T021500Z-0000"):
        with Tables(FolderOutput(tmp_path), vary(terms, run=run), model) as tables:
            tables.stage(PartId(0), ends)
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": run, "volume": 1})

    return publish_run


@pytest.fixture
def find_row(tmp_path, model, terms):
    """Returns a function that finds the published row of a key; None if there is none."""

    def row(key, *, earlier=True, offline=False, model=model):
        index = RowIndex(Tables(FolderOutput(tmp_path), terms, model), earlier=earlier, offline=offline)
        if not index.loaded:
            index.load_published()
        place = index.find(key)
        return None if place is None else index.read_row(place, key)

    return row


def test_row_of_an_earlier_run_is_found_by_its_key(publish, find_row, make):
    """It has all cells."""
    publish(make.accept("/in/a.jpg", key=ONE), make.accept("/in/b.jpg", key=TWO))
    row = find_row(TWO)
    assert (row["_document"], row["_key"], row["shop"]) == ("/in/b.jpg", TWO, "Inn")
    assert [*row] == ["shop", "total", *columns.RESULTS]


def test_unknown_key_is_not_found(publish, find_row, make):
    """This holds before the first run and after it."""
    assert find_row(ONE) is None
    publish(make.accept(key=TWO))
    assert find_row(ONE) is None


def test_index_ignores_earlier_runs_if_told_so(publish, find_row, make):
    publish(make.accept(key=ONE))
    assert find_row(ONE, earlier=False) is None


def test_key_is_compared_in_full(publish, find_row, make):
    """A key that shares the first 60 bits is another document."""
    publish(make.accept(key=ONE))
    assert find_row(ONE[:DIGITS] + "0" * (64 - DIGITS)) is None


def test_later_of_two_rows_is_found(publish, find_row, make):
    publish(make.accept("/in/old.jpg", key=ONE), run="20261118T021500Z-0000")
    publish(make.accept("/in/new.jpg", key=ONE), run="20261119T021500Z-0000")
    assert find_row(ONE)["_document"] == "/in/new.jpg"


def test_copied_row_is_not_found(publish, find_row, make, tmp_path, model, terms):
    """The row of the document that was sent is found, though its copy was published later."""
    publish(make.accept("/in/a.jpg", key=ONE))
    row = Tables(FolderOutput(tmp_path), terms, model).build_row(make.accept("/in/a.jpg", key=ONE))
    copy = Copied(make.plan("/in/b.jpg"), (), ONE, terms.started_at, row, failed=False)
    publish(copy, run="20261119T031500Z-0000")
    assert find_row(ONE)["_document"] == "/in/a.jpg"


@pytest.mark.parametrize("offline", [False, True])
def test_offline_row_is_found_by_offline_runs_only(publish, find_row, make, offline):
    publish(make.accept(key=ONE, reply=make.reply(model="offline/rapidocr")))
    assert (find_row(ONE, offline=offline) is not None) == offline


class Wider(BaseModel):
    """Slip with an additional field."""

    shop: str
    total: str | None = None
    more: str | None = None


def test_row_with_other_column_types_is_not_found(publish, find_row, make):
    """The document is paid for again."""
    publish(make.accept(key=ONE))
    assert find_row(ONE, model=Wider) is None


def test_read_row_of_a_deleted_file_returns_none(publish, make, tmp_path, model, terms):
    publish(make.accept(key=ONE))
    index = RowIndex(Tables(FolderOutput(tmp_path), terms, model), earlier=True, offline=False)
    index.load_published()
    place = index.find(ONE)
    (tmp_path / place.file).unlink()
    assert index.read_row(place, ONE) is None
    assert index.read_row(RowPlace("no.parquet", 0, failed=False), ONE) is None


def test_index_caches_four_blocks_of_rows(publish, make, tmp_path, model, terms, monkeypatch):
    """Rows are read in blocks, and the last four blocks are cached."""
    monkeypatch.setattr(row_index, "BLOCK", 3)
    keys = [f"{number:064x}"[::-1] for number in range(30)]
    publish(*(make.accept(f"/in/{number}.jpg", key=key) for number, key in enumerate(keys)))
    index = RowIndex(Tables(FolderOutput(tmp_path), terms, model), earlier=True, offline=False)
    index.load_published()
    documents = [index.read_row(index.find(key), key)["_document"] for key in keys]
    assert documents == [f"/in/{number}.jpg" for number in range(30)]
    assert [frame.height for frame in index._blocks.values()] == [3] * 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixtures are immutable values
@given(numbers=st.lists(st.integers(0, 2**60 - 1), unique=True, max_size=30), other=st.integers(0, 2**60 - 1))
def test_index_finds_exactly_the_added_keys(terms, model, numbers, other):
    """They are found in the staged parts of the current volume, and then in the file into which these are merged."""
    tables = Tables(Path("/nowhere"), terms, model)
    index = RowIndex(tables, earlier=False, offline=False)
    keys = [f"{number:0{DIGITS}x}".ljust(64, "0") for number in numbers]
    for part, key in enumerate(keys):
        index.add(key, "results", PartId(part), 0)
        index.note_staged(PartId(part), {"results": 1})
    unknown = f"{other:0{DIGITS}x}".ljust(64, "0")
    assert [index.find(key).row for key in keys] == [0] * len(keys)
    assert (index.find(unknown) is None) == (other not in numbers)
    tables.volume = Volume(Path("/nowhere"), terms, 2)
    assert [index.find(key).row for key in keys] == list(range(len(keys)))
    assert (index.find(unknown) is None) == (other not in numbers)
