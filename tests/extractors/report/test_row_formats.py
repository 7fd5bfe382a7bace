"""How rows are written."""

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
    """The bytes of both frames."""
    target = io.BytesIO()
    write(FRAMES, target)
    return target.getvalue()


def test_csv_has_one_header_and_json_for_lists():
    """Values that need it are quoted; times are ISO 8601 in UTC."""
    header, row, empty = write_frames(write_csv).decode().splitlines()
    assert header == "name,total,at,items"
    assert row == '"Ä,b",1.500000,2026-11-20T02:00:00.000000Z,"[{""text"":""x"",""amount"":""2.000000""}]"'
    assert empty == ",,,"


def test_jsonl_has_an_object_a_row_and_exact_amounts():
    """Amounts are text: a float would lose digits."""
    rows = [json.loads(line) for line in write_frames(write_jsonl).splitlines()]
    assert rows[0]["total"] == "1.500000"
    assert rows[0]["items"] == [{"text": "x", "amount": "2.000000"}]
    assert rows[1] == dict.fromkeys(TYPES)


def test_parquet_is_one_file_of_the_same_types():
    """The frames are joined."""
    read = pl.read_parquet(io.BytesIO(write_frames(write_rows_parquet)))
    assert read.equals(pl.concat(FRAMES))


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_closed_pipe_ends_the_output_as_python_names_it(write):
    """`rows --format csv | head` ends quietly: polars' own writer would raise an error without a number."""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "wb", 0) as target:
        write(FRAMES, target)


def test_cells_are_one_line_without_control_characters():
    """What a model wrote cannot move the cursor; an amount keeps its digits; a path shows its file."""
    assert format_cell("a\n\x1b[31mb") == "a  [31mb"
    assert [format_cell(Decimal(each)) for each in ("1.500000", "7", "0.123456")] == ["1.50", "7", "0.123456"]
    assert format_cell(f"s3://bucket/{'x' * 40}/a.jpg") == "a.jpg"
    assert [format_cell(each) for each in (None, [1], [])] == ["", "1 item", "0 items"]


def test_table_fits_the_terminal():
    """Columns that do not fit are left out, at least two are shown, and the widest is cut."""
    frame = pl.DataFrame({"a": ["x" * 30], "b": ["y" * 30], "c": ["z" * 30], "d": [1]})
    assert fit_columns(frame, 60) == ["a", "b", "c", "d"]
    assert fit_columns(frame, 30) == ["a", "b"]
    assert fit_columns(frame, 5) == ["a", "b"]
    console = terminal()
    with console.capture() as shown:
        console.print(build_table(frame, 60), crop=False, soft_wrap=True)
    assert max(map(len, shown.get().splitlines())) <= 62
