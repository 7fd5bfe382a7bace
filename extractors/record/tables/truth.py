"""The form of a file of truth or corrections: one document a line or row, with its name and the fields that a person gave.

    {"document": "/scans/receipts/a4-scan.jpg", "total": "21.10", "currency": "MYR"}

`document` is the row's `_document`, or the end of it, such as a file's name; `uri` or `image` may stand for it. A value is
written as in `tilewise rows --format jsonl`: amounts and dates as text or number, null for what the image does not show.
The key `_missing`, the fields that a person has marked as incomplete, gives no value.
In `.csv` and `.parquet` an empty cell gives no value; in `.csv` the word `null` is null, and lists are written as JSON.
"""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError, first_line, format_value, suggest_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extractors.record.tables.columns import Columns

MISSING = "_missing"  # key of a page's corrections: the fields in which something is missing, without a value
NAMES = ("uri", "document", "image")  # of the key that names the document


@dataclass(frozen=True, slots=True)
class TruthLine:
    """The values that a person gave for one document, as JSON; `place` is the file and the line, for messages."""

    document: str
    values: Mapping[str, object]
    place: str

    def cells(self, columns: Columns) -> dict[str, object]:
        """The values as cells of these columns. Raises ConfigurationError for a field or value that does not fit."""
        from extractors.record.tables.columns import format_type  # noqa: PLC0415 - polars, which a wrong file need not wait for
        from extractors.record.tables.json_cells import to_cell  # noqa: PLC0415 - as above

        cells: dict[str, object] = {}
        for name, value in self.values.items():
            if name not in columns:
                if name in NAMES:  # as in a manifest: `uri` beside `document`
                    continue
                hint = suggest_name(name, columns) or f": the fields are {', '.join(columns)}"
                raise ConfigurationError(f"{self.place}: unknown field {name!r}{hint}")
            try:
                cells[name] = to_cell(value, columns[name])
            except (ValueError, TypeError, InvalidOperation):
                raise ConfigurationError(
                    f"{self.place}: field {name!r}: {format_value(value)} does not fit the column's type {format_type(columns[name])}"
                ) from None
        return cells


def check_readable(path: str) -> None:
    """Raises ConfigurationError as `read_truth` does for a file that cannot be read; Parquet is left to its reader."""
    if Path(path).suffix.lower() != ".parquet":
        with _name_unreadable(path):
            Path(path).open("rb").close()


@contextmanager
def _name_unreadable(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def read_truth(path: str, *, named: bool = True) -> list[TruthLine]:
    """Read the lines of a file. Raises ConfigurationError with file and line for what is not such an object.

    Without `named` the lines need not name a document: it is empty, and every key is a value.
    """
    kind = Path(path).suffix.lower()
    with _name_unreadable(path):
        if kind == ".parquet":
            return _read_parquet(path, named=named)
        content = Path(path).read_bytes()
    if kind == ".csv":
        return _read_csv(content, path, named=named)
    lines = enumerate(content.splitlines(), 1)
    read = (_read_line(line, f"{path}, line {number}", named=named) for number, line in lines if line.strip())
    return [line for line in read if line is not None]


def _read_parquet(path: str, *, named: bool) -> list[TruthLine]:
    import polars as pl  # noqa: PLC0415 - takes 150 ms, which other files save

    try:
        rows = pl.read_parquet(path).rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise ConfigurationError(f"{path} is no readable Parquet file: {first_line(error)}") from None
    return [
        _build_line(
            {name: value for name, value in row.items() if value is not None}, f"{path}, row {number}", named=named
        )
        for number, row in enumerate(rows, 1)
    ]


def _read_csv(content: bytes, path: str, *, named: bool) -> list[TruthLine]:
    try:
        reader = csv.reader(content.decode("utf-8-sig").splitlines(keepends=True), strict=True)
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise ConfigurationError(f"{path}, line 1: a column's name occurs twice")
        return [
            _read_csv_row(header, cells, f"{path}, line {reader.line_num}", named=named)
            for cells in reader
            if any(map(str.strip, cells))
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} is no CSV file in UTF-8: {first_line(error)}") from None


def _read_csv_row(header: list[str], cells: list[str], place: str, *, named: bool) -> TruthLine:
    if len(cells) != len(header):
        raise ConfigurationError(f"{place}: has {len(cells)} cells, and the header has {len(header)}")
    given = {name.strip(): cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
    values: dict[str, object] = {name: None if cell.strip() == "null" else cell for name, cell in given.items()}
    return _build_line(values, place, named=named)


def _read_line(line: bytes, place: str, *, named: bool) -> TruthLine | None:
    """The line; None for one that has nothing but marks of what is missing."""
    try:
        values = json.loads(line.decode("utf-8-sig"), parse_float=Decimal)  # a float would lose digits of an amount
    except ValueError as error:
        raise ConfigurationError(f"{place}: is no JSON object: {first_line(error)}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{place}: is no JSON object")
    if MISSING in values and values.keys() <= {*NAMES, MISSING}:
        return None
    return _build_line(values, place, named=named)


def _build_line(cells: dict[str, object], place: str, *, named: bool) -> TruthLine:
    values = {name: value for name, value in cells.items() if name != MISSING}
    if not named:
        return TruthLine("", values, place)
    given = [name for name in NAMES if name in values]
    name = next((each for each in given if each != "uri"), "uri")  # pages of one document share its name, not their URI
    document = values.get(name)
    if not (isinstance(document, str) and document):
        raise ConfigurationError(
            f"{place}: has no text `document` or `uri`, which names the document as `_document` does"
        )
    return TruthLine(document, {each: value for each, value in values.items() if each != name}, place)
