"""current.py: one row of each document is current."""

from datetime import UTC, datetime

import polars as pl

from extractors.record.tables.current import KEYS, keep_current

MODEL, OFFLINE = "maker/model", "offline/rapidocr"


def rows(*values):
    """Rows given as document, minute of extraction, model and run."""
    complete_rows = [
        (name, datetime(2026, 11, 20, 2, minute, tzinfo=UTC), model, run) for name, minute, model, run in values
    ]
    return pl.LazyFrame(complete_rows, schema=KEYS, orient="row").with_columns(total=pl.int_range(pl.len()))


def list_current(*values):
    """The indices of the rows that are kept, in their order."""
    return keep_current(rows(*values)).collect()["total"].to_list()


def test_latest_extraction_is_current():
    """A redo replaces the row of its document, also if its file is read first; the order of rows is kept."""
    assert list_current(("b", 1, MODEL, "r1"), ("a", 5, MODEL, "r2"), ("a", 1, MODEL, "r1"), ("c", 1, MODEL, "r1")) == [
        0,
        1,
        3,
    ]


def test_offline_row_is_current_only_without_another():
    """A row of local OCR never replaces a model's, whether later or earlier."""
    assert list_current(
        ("a", 1, MODEL, "r1"), ("a", 9, OFFLINE, "r2"), ("b", 9, OFFLINE, "r2"), ("b", 1, OFFLINE, "r1")
    ) == [
        0,
        2,
    ]


def test_one_of_several_rows_of_the_same_time_is_current():
    """It is that of the greatest run id, and of one run the last row."""
    assert list_current(("a", 1, MODEL, "r2"), ("a", 1, MODEL, "r1"), ("b", 1, MODEL, "r1"), ("b", 1, MODEL, "r1")) == [
        0,
        3,
    ]


def test_keep_current_keeps_the_columns():
    frame = rows(("a", 1, MODEL, "r1"))
    assert keep_current(frame).collect_schema() == frame.collect_schema()
