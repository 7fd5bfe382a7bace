"""Rows as text and files: a table for the terminal, CSV, JSON lines and Parquet."""

from __future__ import annotations

import shutil
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import polars as pl
from rich.table import Table

from extractors.record.output.base import write_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CELL = 32  # characters of a cell on the terminal
MIN_COLUMN = 12  # characters that a column needs to be worth showing
BORDER = 2  # characters between two columns
_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"


def write_csv(frames: Iterable[pl.DataFrame], target: IO[bytes]) -> None:
    """Write rows with a header; lists and structs are JSON text."""
    for number, frame in enumerate(frames):
        flat = frame.with_columns(_to_json(name) for name, dtype in frame.schema.items() if dtype.is_nested())
        target.write(flat.write_csv(include_header=number == 0, datetime_format=_TIME).encode())


def write_jsonl(frames: Iterable[pl.DataFrame], target: IO[bytes]) -> None:
    """Write one JSON object a row; amounts, dates and times are text, so that none loses a digit."""
    for frame in frames:
        target.write(frame.write_ndjson().encode())


def write_rows_parquet(frames: Iterable[pl.DataFrame], target: IO[bytes]) -> None:
    """Write one Parquet file. Its parts wait in a temporary folder, so that memory holds one of them."""
    with tempfile.TemporaryDirectory(prefix="tilewise-") as folder:
        for number, frame in enumerate(frames):
            write_parquet(frame, Path(folder, f"{number:06}.parquet"))
        parts, whole = sorted(Path(folder).glob("*.parquet")), Path(folder, "whole")
        write_parquet(pl.scan_parquet(parts, glob=False), whole)
        with whole.open("rb") as file:
            shutil.copyfileobj(file, target)


def fit_columns(frame: pl.DataFrame, width: int) -> list[str]:
    """The first columns that can be read side by side in this many characters; at least two."""
    names: list[str] = []
    for name in frame.columns:
        width -= min(_widest_cell(frame[name]), MIN_COLUMN) + BORDER
        if width < 0 and len(names) > 1:
            break
        names.append(name)
    return names


def build_table(frame: pl.DataFrame, width: int) -> Table:
    """The rows as a table of this many characters, one line a row; the widest columns are cut."""
    widths = {name: _widest_cell(frame[name]) for name in frame.columns}
    while sum(widths.values()) > width - BORDER * (len(widths) - 1) and max(widths.values()) > MIN_COLUMN:
        widths[max(widths, key=widths.__getitem__)] -= 1
    table = Table(box=None, pad_edge=False, padding=(0, BORDER, 0, 0))
    for name, characters in widths.items():
        align: Literal["left", "right"] = "right" if frame.schema[name].is_numeric() else "left"
        table.add_column(name, justify=align, no_wrap=True, overflow="ellipsis", width=characters)
    for row in frame.iter_rows():
        table.add_row(*map(format_cell, row))
    return table


def _widest_cell(column: pl.Series) -> int:
    """The characters of a column's longest cell, its name among them."""
    return max([len(column.name), *(len(format_cell(value)) for value in column)])


def format_cell(value: object) -> str:
    """A value on one line of the terminal, without characters that would control it; of a path its last part."""
    if value is None:
        return ""
    if isinstance(value, list):
        return f"{len(value)} item{'s' * (len(value) != 1)}"
    if isinstance(value, Decimal):
        whole, point, places = f"{value:f}".partition(".")
        return f"{whole}{point}{places.rstrip('0').ljust(2, '0')}" if point else whole
    text = make_printable(str(value))
    if len(text) <= MAX_CELL:
        return text
    name = text.rpartition("/")[2] if text.startswith("/") or "://" in text else text
    return name if len(name) <= MAX_CELL else f"{name[: MAX_CELL - 1]}…"


def make_printable(text: str, keep: str = "") -> str:
    """The text without characters that would control a terminal; those in `keep` stay."""
    return "".join(letter if letter.isprintable() or letter in keep else " " for letter in text)


def _to_json(name: str) -> pl.Expr:
    """A list or struct as JSON text; null where there is none."""
    text = pl.struct(pl.col(name).alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(pl.col(name).is_not_null()).then(text).alias(name)
