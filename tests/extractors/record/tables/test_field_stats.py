"""field_stats.py: how full and how varied each field of a run's results is."""

import enum
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from extractors.record.tables import columns
from extractors.record.tables.field_stats import field_rows
from extractors.record.tables.fields import Fields

RUN = "20261120T021500Z-3f9a"


class Colour(enum.StrEnum):
    """Text by name."""

    RED = "red"
    BLUE = "blue"


class Tax(BaseModel):
    """What a line holds."""

    rates: list[Annotated[Decimal, Field(decimal_places=2)]] = []


class Line(BaseModel):
    """A nested document with one of its own."""

    name: str | None = None
    tax: Tax | None = None


def measure_field(annotation, values, root=None):
    """The row of a field with this annotation: of these values in memory, or published under `root`."""
    model = create_model("Some", field=(annotation, ...))
    fields = Fields(model)
    rows = [fields.row(model(field=value)) for value in values]
    frame = pl.DataFrame(rows, schema=fields.columns, orient="row")
    if root is None:
        return field_rows(frame.lazy(), ["field"], RUN, "slip")[0]
    frame.write_parquet(root / "slip.parquet")
    return field_rows(pl.scan_parquet(root / "slip.parquet"), ["field"], RUN, "slip")[0]


NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 20, 2, 15, 0, 120000, tzinfo=UTC)
TEA, BARE = {"name": "tea", "tax": {"rates": ["0.07"]}}, {"name": None, "tax": None}

# annotation, values, nulls, distinct, min, max, mean_length
KINDS = [
    (str | None, ["pear", "fig", None, "fig", ""], 1, 3, "", "pear", 2.5),
    (str, ["Süd"], 0, 1, "Süd", "Süd", 3),
    (int | None, [10, 9, None, 9], 1, 2, "9", "10", None),
    (float | None, [0.5, -1.5, None], 1, 2, "-1.5", "0.5", None),
    (bool | None, [True, False, None, True], 1, 2, None, None, None),
    (Decimal | None, ["8.2", "10", None, "8.20"], 1, 2, "8.200000", "10.000000", None),
    (Decimal, ["0.000001"], 0, 1, "0.000001", "0.000001", None),
    (date | None, ["2026-11-20", "1999-01-31", None], 1, 2, "1999-01-31", "2026-11-20", None),
    (datetime | None, [NOON, NIGHT], 0, 2, "2026-11-20T02:15:00.120000+00:00", "2026-11-20T12:00:00+00:00", None),
    (time, [time(12, 30), time(9)], 0, 2, "09:00:00", "12:30:00", None),
    (Colour | None, ["red", "blue", "red", None], 1, 2, "blue", "red", 10 / 3),
    (dict[str, int] | None, [{"a": 1}, {}, None], 1, 2, '{"a":1}', "{}", 4.5),
    (list[str] | None, [["a", "b"], [], None, ["b", "a"], []], 1, 3, None, None, 1),
    (list[list[int]], [[[1], []], [[], [1]], [[1], []]], 0, 2, None, None, 2),
    (list[date], [["2026-11-20"], ["2026-11-21"], []], 0, 3, None, None, 2 / 3),
    (list[datetime], [[NOON], [NOON], [NIGHT]], 0, 2, None, None, 1),
    (list[time], [[time(9)], [time(9, 0, 0, 1)]], 0, 2, None, None, 1),
    (list[float | None], [[0.1], [None], [0.1]], 0, 2, None, None, 1),
    (list[Decimal], [["0.000001"], ["0.000002"]], 0, 2, None, None, 1),
    (Line | None, [TEA, BARE, None, TEA], 1, 2, None, None, None),
    (list[Line] | None, [[TEA], [TEA, BARE], [BARE], [TEA], [], None], 1, 4, None, None, 1),
]


@pytest.mark.parametrize(("annotation", "values", "nulls", "distinct", "low", "high", "length"), KINDS, ids=str)
@pytest.mark.parametrize("published", [False, True])
def test_every_kind_of_field_tells_its_own(annotation, values, nulls, distinct, low, high, length, published, tmp_path):
    """Nulls are counted apart from the different values; extremes and lengths are there where they mean something."""
    row = measure_field(annotation, values, tmp_path if published else None)
    assert row == {
        "run": RUN,
        "schema": "slip",
        "field": "field",
        "rows": len(values),
        "nulls": nulls,
        "distinct": distinct,
        "min": low,
        "max": high,
        "mean_length": pytest.approx(length) if length is not None else None,
        "mean_confidence": None,
    }


@pytest.mark.parametrize("annotation", [each[0] for each in KINDS], ids=str)
def test_a_field_of_no_rows_has_none(annotation):
    """A run that accepted nothing has counts of zero and no extremes."""
    row = measure_field(annotation, [])
    assert [row[name] for name in ("rows", "nulls", "distinct", "min", "max", "mean_length")] == [0, 0, 0, *[None] * 3]


@pytest.mark.parametrize("annotation", [each[0] | None for each in KINDS], ids=str)
def test_a_field_that_is_always_null_has_no_values(annotation):
    """All nulls are counted, none of them is a value."""
    row = measure_field(annotation, [None, None])
    assert [row[name] for name in ("rows", "nulls", "distinct", "min", "max", "mean_length")] == [2, 2, 0, *[None] * 3]


def test_long_text_is_cut():
    """A page of text is not repeated in the table that sums it up; its length is that of the whole."""
    row = measure_field(str, ["a" * 5000])
    assert (row["min"], row["max"], row["mean_length"]) == ("a" * 200, "a" * 200, 5000)


def test_fields_come_in_the_order_asked_for():
    """Only the schema's fields have a row, not the columns of the run beside them."""
    frame = pl.LazyFrame({"_key": ["k"], "shop": ["Inn"], "rows": [1], "field": [None]})
    found = field_rows(frame, ["shop", "rows", "field"], RUN, "slip")
    assert [(row["field"], row["rows"], row["nulls"]) for row in found] == [
        ("shop", 1, 0),
        ("rows", 1, 0),
        ("field", 1, 1),
    ]


def test_mean_confidence_is_that_of_the_rows_with_one():
    """Rows without evidence and fields without a confidence do not count."""
    evidence = [
        [{"field": "shop", "confidence": 0.5}, {"field": "total", "confidence": None}],
        None,
        [{"field": "shop", "confidence": 1.0}],
    ]
    column = pl.Series("_evidence", evidence, dtype=columns.RESULTS["_evidence"])
    frame = pl.LazyFrame({"shop": ["Inn", "Inn", None], "total": [1, 2, 3], "_evidence": column})
    assert [row["mean_confidence"] for row in field_rows(frame, ["shop", "total"], RUN, "slip")] == [0.75, None]


def test_no_fields_have_no_rows():
    """A schema without fields of its own says nothing."""
    assert field_rows(pl.LazyFrame({"_key": ["k"]}), [], RUN, "slip") == []


def test_the_rows_fit_their_table():
    """Every row is one of the published table, column for column."""
    rows = field_rows(pl.LazyFrame({"shop": ["Inn"], "total": [Decimal("8.2")]}), ["shop", "total"], RUN, "slip")
    frame = pl.DataFrame(rows, schema=columns.FIELDS, orient="row")
    assert frame.to_dicts() == rows
    assert list(rows[0]) == list(columns.FIELDS)


lines = st.builds(Line, name=st.none() | st.sampled_from("ab"), tax=st.none() | st.just(Tax()))


@given(values=st.lists(st.none() | st.lists(lines, max_size=2), max_size=8))
def test_different_lists_are_counted_as_python_counts_them(values):
    """Two lists of nested documents are one value exactly when they are equal."""
    some = [each for each in values if each is not None]
    row = measure_field(list[Line] | None, values)
    assert row["distinct"] == len({repr(each) for each in some})
    assert row["nulls"] == len(values) - len(some)
