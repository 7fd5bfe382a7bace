"""row_formats.py: rows as CSV, JSONL, Parquet and a terminal table."""

import io
import json
import os
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from extractors.report.row_formats import (
    build_table,
    fit_columns,
    format_cell,
    write_csv,
    write_jsonl,
    write_rows_parquet,
)
from extractors.report.terminal import terminal

ITEM = pl.Struct({"text": pl.String, "amount": pl.Decimal(38, 6)})
TYPES = {"name": pl.String, "total": pl.Decimal(38, 6), "at": pl.Datetime("us", "UTC"), "items": pl.List(ITEM)}
AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
FRAMES = [
    pl.DataFrame([("Ä,b", Decimal("1.5"), AT, [{"text": "x", "amount": Decimal(2)}])], schema=TYPES, orient="row"),
    pl.DataFrame([(None, None, None, None)], schema=TYPES, orient="row"),
]


def write_frames(write):
    """Returns the bytes that are written for both frames."""
    target = io.BytesIO()
    write(FRAMES, target)
    return target.getvalue()


def test_csv_has_one_header_and_json_for_lists():
    """Values are quoted if needed; times are ISO 8601 in UTC."""
    header, row, empty = write_frames(write_csv).decode().splitlines()
    assert header == "name,total,at,items"
    assert row == '"Ä,b",1.500000,2026-11-20T02:00:00.000000Z,"[{""text"":""x"",""amount"":""2.000000""}]"'
    assert empty == ",,,"


def test_jsonl_has_one_object_per_row_and_exact_amounts():
    """Amounts are text, because a float would lose digits."""
    rows = [json.loads(line) for line in write_frames(write_jsonl).splitlines()]
    assert rows[0]["total"] == "1.500000"
    assert rows[0]["items"] == [{"text": "x", "amount": "2.000000"}]
    assert rows[1] == dict.fromkeys(TYPES)


def test_parquet_joins_the_frames_in_one_file():
    frame = pl.read_parquet(io.BytesIO(write_frames(write_rows_parquet)))
    assert frame.equals(pl.concat(FRAMES))


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_closed_pipe_raises_broken_pipe_error(write):
    """`rows --format csv | head` then ends quietly; the writer of polars would raise an error without an errno."""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "wb", 0) as target:
        write(FRAMES, target)


def test_cells_are_one_line_without_control_characters():
    """Model output cannot move the cursor; an amount keeps its digits; a path is shortened to its file name."""
    assert format_cell("a\n\x1b[31mb") == "a  [31mb"
    assert [format_cell(Decimal(amount)) for amount in ("1.500000", "7", "0.123456")] == ["1.50", "7", "0.123456"]
    assert format_cell(f"s3://bucket/{'x' * 40}/a.jpg") == "a.jpg"
    assert [format_cell(value) for value in (None, [1], [])] == ["", "1 item", "0 items"]


def test_table_fits_the_terminal():
    """Columns that do not fit are left out, at least two are shown, and the widest is cut."""
    frame = pl.DataFrame({"a": ["x" * 30], "b": ["y" * 30], "c": ["z" * 30], "d": [1]})
    assert fit_columns(frame, 60) == ["a", "b", "c", "d"]
    assert fit_columns(frame, 30) == ["a", "b"]
    assert fit_columns(frame, 5) == ["a", "b"]
    console = terminal()
    with console.capture() as capture:
        console.print(build_table(frame, 60), crop=False, soft_wrap=True)
    assert max(map(len, capture.get().splitlines())) <= 62
