"""Which row of a document is the current one."""

from datetime import UTC, datetime

import polars as pl

from extractors.record.tables.current import KEYS, keep_current

MODEL, OFFLINE = "maker/model", "offline/rapidocr"


def rows(*values):
    """Rows of documents: name, minute of extraction, model, run."""
    whole = [(name, datetime(2026, 11, 20, 2, minute, tzinfo=UTC), model, run) for name, minute, model, run in values]
    return pl.LazyFrame(whole, schema=KEYS, orient="row").with_columns(total=pl.int_range(pl.len()))


def current(*values):
    """The numbers of the rows that are kept, in their order."""
    return keep_current(rows(*values)).collect()["total"].to_list()


def test_latest_extraction_is_current():
    """A redo replaces the row of its document, also where its file is read first; the order of rows is kept."""
    assert current(("b", 1, MODEL, "r1"), ("a", 5, MODEL, "r2"), ("a", 1, MODEL, "r1"), ("c", 1, MODEL, "r1")) == [
        0,
        1,
        3,
    ]


def test_offline_row_is_current_only_without_another():
    """A later row of local OCR does not replace a model's, an earlier one neither."""
    assert current(
        ("a", 1, MODEL, "r1"), ("a", 9, OFFLINE, "r2"), ("b", 9, OFFLINE, "r2"), ("b", 1, OFFLINE, "r1")
    ) == [
        0,
        2,
    ]


def test_rows_of_one_time_are_told_apart_by_run_and_place():
    """The rule keeps exactly one row of a document."""
    assert current(("a", 1, MODEL, "r2"), ("a", 1, MODEL, "r1"), ("b", 1, MODEL, "r1"), ("b", 1, MODEL, "r1")) == [0, 3]


def test_all_columns_stay_and_no_other_is_added():
    """The frame keeps its schema."""
    frame = rows(("a", 1, MODEL, "r1"))
    assert keep_current(frame).collect_schema() == frame.collect_schema()
