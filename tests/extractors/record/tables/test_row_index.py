"""row_index.py: a row is found by its key wherever it was published, and only if it may be copied."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from support.runs import vary

from extractors.core import Copied
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables import row_index as originals
from extractors.record.tables.row_index import DIGITS, Place, RowIndex
from extractors.record.tables.volume import PartId, Volume
from extractors.record.tables.writer import Tables

ONE, TWO = "f" * 64, "0" * 64


@pytest.fixture
def publish(tmp_path, model, terms):
    """Publishes one run with these ends."""

    def publish_run(*ends, run="20261119T021500Z-0000"):
        with Tables(FolderOutput(tmp_path), vary(terms, run=run), model) as tables:
            tables.stage(PartId(0), ends)
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": run, "volume": 1})

    return publish_run


@pytest.fixture
def looked_up(tmp_path, model, terms):
    """The row of a key among what is published, None if there is none."""

    def row(key, *, earlier=True, offline=False, model=model):
        found = RowIndex(Tables(FolderOutput(tmp_path), terms, model), earlier=earlier, offline=offline)
        if not found.loaded:
            found.load_published()
        place = found.find(key)
        return None if place is None else found.read_row(place, key)

    return row


def test_an_earlier_row_is_found_by_its_key(publish, looked_up, make):
    """Whole, with the cells of every column."""
    publish(make.accept("/in/a.jpg", key=ONE), make.accept("/in/b.jpg", key=TWO))
    row = looked_up(TWO)
    assert (row["_document"], row["_key"], row["shop"]) == ("/in/b.jpg", TWO, "Inn")
    assert [*row] == ["shop", "total", *columns.RESULTS]


def test_a_key_that_nobody_had_is_not_found(publish, looked_up, make):
    """Neither before the first run nor after it."""
    assert looked_up(ONE) is None
    publish(make.accept(key=TWO))
    assert looked_up(ONE) is None


def test_earlier_rows_are_left_alone_where_all_is_read_anew(publish, looked_up, make):
    publish(make.accept(key=ONE))
    assert looked_up(ONE, earlier=False) is None


def test_the_whole_key_is_compared(publish, looked_up, make):
    """What shares its first 60 bits alone is another document."""
    publish(make.accept(key=ONE))
    assert looked_up(ONE[:DIGITS] + "0" * (64 - DIGITS)) is None


def test_of_two_rows_the_later_counts(publish, looked_up, make):
    """As everywhere."""
    publish(make.accept("/in/old.jpg", key=ONE), run="20261118T021500Z-0000")
    publish(make.accept("/in/new.jpg", key=ONE), run="20261119T021500Z-0000")
    assert looked_up(ONE)["_document"] == "/in/new.jpg"


def test_a_copy_is_no_original(publish, looked_up, make, tmp_path, model, terms):
    """The document that was answered about is found, though its copy was published later."""
    publish(make.accept("/in/a.jpg", key=ONE))
    row = Tables(FolderOutput(tmp_path), terms, model).build_row(make.accept("/in/a.jpg", key=ONE))
    copy = Copied(make.plan("/in/b.jpg"), (), ONE, terms.started_at, row, failed=False)
    publish(copy, run="20261119T031500Z-0000")
    assert looked_up(ONE)["_document"] == "/in/a.jpg"


@pytest.mark.parametrize("offline", [False, True])
def test_what_was_read_offline_is_for_offline_runs(publish, looked_up, make, offline):
    publish(make.accept(key=ONE, reply=make.reply(model="offline/rapidocr")))
    assert (looked_up(ONE, offline=offline) is not None) == offline


class Wider(BaseModel):
    """A document with a field more."""

    shop: str
    total: str | None = None
    more: str | None = None


def test_a_row_that_is_not_as_today_is_not_copied(publish, looked_up, make):
    """A field of another type cannot be read as today's: the document is paid for again."""
    publish(make.accept(key=ONE))
    assert looked_up(ONE, model=Wider) is None


def test_a_row_of_a_file_that_has_gone_is_not_copied(publish, make, tmp_path, model, terms):
    publish(make.accept(key=ONE))
    found = RowIndex(Tables(FolderOutput(tmp_path), terms, model), earlier=True, offline=False)
    found.load_published()
    place = found.find(ONE)
    (tmp_path / place.file).unlink()
    assert found.read_row(place, ONE) is None
    assert found.read_row(Place("no.parquet", 0, failed=False), ONE) is None


def test_memory_holds_few_rows(publish, make, tmp_path, model, terms, monkeypatch):
    """Blocks of rows are read at once, and of these the last four are kept."""
    monkeypatch.setattr(originals, "BLOCK", 3)
    keys = [f"{number:064x}"[::-1] for number in range(30)]
    publish(*(make.accept(f"/in/{number}.jpg", key=key) for number, key in enumerate(keys)))
    found = RowIndex(Tables(FolderOutput(tmp_path), terms, model), earlier=True, offline=False)
    found.load_published()
    read = [found.read_row(found.find(key), key)["_document"] for key in keys]
    assert read == [f"/in/{number}.jpg" for number in range(30)]
    assert [frame.height for frame in found._blocks.values()] == [3] * 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # values, which nobody changes
@given(numbers=st.lists(st.integers(0, 2**60 - 1), unique=True, max_size=30), other=st.integers(0, 2**60 - 1))
def test_every_key_is_found_and_no_other(terms, model, numbers, other):
    """Whatever the bits: in the parts of the volume under way, and in the file that they are folded into."""
    tables = Tables(Path("/nowhere"), terms, model)
    found = RowIndex(tables, earlier=False, offline=False)
    keys = [f"{number:0{DIGITS}x}".ljust(64, "0") for number in numbers]
    for part, key in enumerate(keys):
        found.add(key, "results", PartId(part), 0)
        found.note_staged(PartId(part), {"results": 1})
    unknown = f"{other:0{DIGITS}x}".ljust(64, "0")
    assert [found.find(key).row for key in keys] == [0] * len(keys)
    assert (found.find(unknown) is None) == (other not in numbers)
    tables.volume = Volume(Path("/nowhere"), terms, 2)
    assert [found.find(key).row for key in keys] == list(range(len(keys)))
    assert (found.find(unknown) is None) == (other not in numbers)
