"""field_stats.py: each field of a run's results has counts, extremes and mean length."""

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
    """An enum of text."""

    RED = "red"
    BLUE = "blue"


class Tax(BaseModel):
    """A list of amounts, nested in Line."""

    rates: list[Annotated[Decimal, Field(decimal_places=2)]] = []


class Line(BaseModel):
    """A nested document that contains another."""

    name: str | None = None
    tax: Tax | None = None


def measure_field(annotation, values, root=None):
    """The row of a field with this annotation and these values, in memory or read from a file under `root`."""
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
def test_field_row_has_counts_extremes_and_mean_length(
    annotation, values, nulls, distinct, low, high, length, published, tmp_path
):
    """Nulls do not count as distinct values; types without an order have no extremes."""
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


@pytest.mark.parametrize("annotation", [kind[0] for kind in KINDS], ids=str)
def test_field_row_without_rows_has_zero_counts(annotation):
    """It has no extremes."""
    row = measure_field(annotation, [])
    assert [row[name] for name in ("rows", "nulls", "distinct", "min", "max", "mean_length")] == [0, 0, 0, *[None] * 3]


@pytest.mark.parametrize("annotation", [kind[0] | None for kind in KINDS], ids=str)
def test_field_row_of_null_values_has_no_extremes(annotation):
    row = measure_field(annotation, [None, None])
    assert [row[name] for name in ("rows", "nulls", "distinct", "min", "max", "mean_length")] == [2, 2, 0, *[None] * 3]


def test_extremes_are_cut_to_200_characters():
    """The mean length is that of the full text."""
    row = measure_field(str, ["a" * 5000])
    assert (row["min"], row["max"], row["mean_length"]) == ("a" * 200, "a" * 200, 5000)


def test_field_rows_have_the_order_of_the_given_fields():
    """Other columns of the results have no row."""
    frame = pl.LazyFrame({"_key": ["k"], "shop": ["Inn"], "rows": [1], "field": [None]})
    rows = field_rows(frame, ["shop", "rows", "field"], RUN, "slip")
    assert [(row["field"], row["rows"], row["nulls"]) for row in rows] == [
        ("shop", 1, 0),
        ("rows", 1, 0),
        ("field", 1, 1),
    ]


def test_mean_confidence_ignores_rows_without_a_confidence():
    evidence = [
        [{"field": "shop", "confidence": 0.5}, {"field": "total", "confidence": None}],
        None,
        [{"field": "shop", "confidence": 1.0}],
    ]
    column = pl.Series("_evidence", evidence, dtype=columns.RESULTS["_evidence"])
    frame = pl.LazyFrame({"shop": ["Inn", "Inn", None], "total": [1, 2, 3], "_evidence": column})
    assert [row["mean_confidence"] for row in field_rows(frame, ["shop", "total"], RUN, "slip")] == [0.75, None]


def test_schema_without_fields_has_no_field_rows():
    assert field_rows(pl.LazyFrame({"_key": ["k"]}), [], RUN, "slip") == []


def test_field_rows_have_the_columns_of_the_table():
    rows = field_rows(pl.LazyFrame({"shop": ["Inn"], "total": [Decimal("8.2")]}), ["shop", "total"], RUN, "slip")
    frame = pl.DataFrame(rows, schema=columns.FIELDS, orient="row")
    assert frame.to_dicts() == rows
    assert list(rows[0]) == list(columns.FIELDS)


lines = st.builds(Line, name=st.none() | st.sampled_from("ab"), tax=st.none() | st.just(Tax()))


@given(values=st.lists(st.none() | st.lists(lines, max_size=2), max_size=8))
def test_distinct_counts_equal_lists_once(values):
    """Two lists of nested documents are one value exactly if they are equal."""
    lists = [value for value in values if value is not None]
    row = measure_field(list[Line] | None, values)
    assert row["distinct"] == len({repr(value) for value in lists})
    assert row["nulls"] == len(values) - len(lists)
