"""truth.py and `extractors.record.tables.json_cells`: lines of truth and corrections become cells of their columns."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from extractors.core.errors import ConfigurationError
from extractors.core.schema import load
from extractors.record.tables.fields import Fields
from extractors.record.tables.truth import TruthLine, read_truth

SAMPLES = Path(__file__).parents[4] / "data" / "samples"
COLUMNS = {
    "name": pl.String(),
    "total": pl.Decimal(38, 2),
    "day": pl.Date(),
    "at": pl.Datetime("us", "UTC"),
    "paid": pl.Boolean(),
    "count": pl.Int64(),
    "items": pl.List(pl.Struct({"text": pl.String, "amount": pl.Decimal(38, 2)})),
}


def cells(**values):
    """The cells of one line."""
    return TruthLine("a.jpg", values, "truth.jsonl, line 1").cells(COLUMNS)


def test_values_become_cells_of_their_columns():
    """Amounts may be text or numbers; empty text is null except in text columns; missing fields of an item are null."""
    assert cells(name="", total="21.10", day="2026-11-20", at="2026-11-20T02:00:00Z", paid=True, count=3) == {
        "name": "",
        "total": Decimal("21.10"),
        "day": date(2026, 11, 20),
        "at": datetime(2026, 11, 20, 2, tzinfo=UTC),
        "paid": True,
        "count": 3,
    }
    assert cells(total=21.1, day="", items=[{"text": "x"}]) == {
        "total": Decimal("21.10"),
        "day": None,
        "items": [{"text": "x", "amount": None}],
    }


@pytest.mark.parametrize(
    "values",
    [
        {"total": "much"},
        {"total": "NaN"},
        {"day": "20/11/2026"},
        {"paid": "yes"},
        {"count": 1.5},
        {"items": "x"},
        {"items": [{"word": "x"}]},
        {"total": True},
    ],
)
def test_value_of_another_type_is_refused_by_line_and_field(values):
    with pytest.raises(ConfigurationError, match=rf"truth\.jsonl, line 1: field '{next(iter(values))}': "):
        cells(**values)


def test_unknown_field_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match=r"line 1: unknown field 'totl', did you mean total\?"):
        cells(totl=1)


@pytest.mark.parametrize("schema", ["receipt", "invoice"])
def test_truth_of_the_samples_fits_the_schema(schema):
    """All its values are cells of the schema's columns."""
    lines = read_truth(str(SAMPLES / f"{schema}s" / "truth.jsonl"))
    columns = Fields(load(schema).model).columns
    assert {line.document for line in lines} <= {path.name for path in (SAMPLES / f"{schema}s").iterdir()}
    assert [line.cells(columns).keys() - columns.keys() for line in lines] == [set()] * len(lines)


def test_numbers_keep_all_their_digits(tmp_path):
    """A float would lose digits that the page of a run has written."""
    path = tmp_path / "corrections.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"document": "/in/a.jpg", "total": 12345678901234567890.12, "count": 3}\r\n')
    [line] = read_truth(str(path))
    assert line.cells(COLUMNS) == {"total": Decimal("12345678901234567890.12"), "count": 3}
    assert line.document == "/in/a.jpg"


@pytest.mark.parametrize("line", ['{"document": "a.jpg"', "[]", '{"total": 1}', '{"document": 7}'])
def test_invalid_line_is_refused_by_number(tmp_path, line):
    path = tmp_path / "truth.jsonl"
    path.write_text(f"\n{json.dumps({'document': 'a.jpg'})}\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"truth\.jsonl, line 3: "):
        read_truth(str(path))


def test_missing_marks_are_ignored(tmp_path):
    """A document with other values keeps those; one with `_missing` only is left out."""
    file = tmp_path / "corrections.jsonl"
    file.write_text(
        '{"document": "a", "total": "1", "_missing": ["items"]}\n{"document": "b", "_missing": ["items"]}\n'
    )
    assert [(line.document, line.values) for line in read_truth(str(file))] == [("a", {"total": "1"})]
