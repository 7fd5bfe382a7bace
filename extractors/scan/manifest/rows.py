"""Parse a manifest of any kind into a table of uri, document and page, and one of its other columns."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, NamedTuple

import orjson
import polars as pl

from extractors.core.errors import format_value
from extractors.core.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = "row"  # the row number in messages
NAMES = ("uri", "document", "page", "pages")
OTHER_JSON = "\0"  # the one column of other values that are JSON already: no file has a column of this name
COLUMNS = {ROW: pl.UInt32, "uri": pl.String, "document": pl.String, "page": pl.String, "pages": pl.String}
_BATCH = 20_000  # lines held as Python objects at once
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 and UTF-32 begin
_SHOWN_COLUMNS = 20
_SEPARATORS = (",", ";", "\t", "|")
_EXCEL = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # a first line that spreadsheets write
_LOSSY = re.compile(rb"(?<=[:,\[\s])-?(?:\d{16}|\d+[.eE])")  # numbers that a float or a 64-bit integer may change


class Rows(NamedTuple):
    """The rows that are not blank, in order. `table` has the columns COLUMNS, all text but the first; `other` the rest.

    `unit` is the word for a row in messages.
    """

    table: pl.DataFrame
    other: pl.DataFrame
    unit: str = "row"


class _Number(str):
    """A number as the file has it."""

    __slots__ = ()


class ManifestError(ValueError):
    """What is wrong with the file, a phrase that follows its name."""


def read_rows(kind: str, data: bytes) -> Rows:
    """Parse the bytes of a manifest of this kind. Raises ManifestError, also for one without rows."""
    if not data.removeprefix(_BOM).strip():
        raise ManifestError("is empty")
    if kind == ".parquet":
        return _rows_of_frame(_parse(data, "Parquet"))
    if data.startswith(_WIDE) or b"\0" in data[:1000]:
        raise ManifestError("is not UTF-8: save it as UTF-8")
    try:
        return {".txt": _read_text, ".csv": _read_csv, ".jsonl": _read_json}[kind](data)
    except UnicodeDecodeError as error:
        raise ManifestError("is not UTF-8: save it as UTF-8") from error


def quote_value(value: object) -> str:
    """Quote a value in an error: shortened, without secrets of URLs."""
    text = format_value(redact_text(value) if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _read_text(data: bytes) -> Rows:
    frame = _parse(data, "text", has_header=False, separator="\x1f", quote_char=None, new_columns=["uri"])
    rows = _rows_of_frame(frame.with_columns(pl.col("uri").str.strip_chars().replace("", None)), blank=True)
    return rows._replace(unit="line")


def _read_csv(data: bytes) -> Rows:
    data = data.removeprefix(_BOM)
    if b"\n" not in data:  # old spreadsheets end lines with the return alone
        data = data.replace(b"\r", b"\n")
    data, separator = _find_separator(data)
    frame = _parse(data, "CSV", separator=separator)
    names = [name.strip() for name in frame.columns]
    copies = [name.rpartition("_duplicated_")[0] for name in names if re.search(r".+_duplicated_\d+$", name)]
    if twice := next((name for name in [*copies, *names] if name in copies or names.count(name) > 1), None):
        raise ManifestError(f"has two columns named {quote_value(twice)}")
    frame.columns = names
    return _rows_of_frame(frame, blank=True)._replace(unit="data row")


def _find_separator(data: bytes) -> tuple[bytes, str]:
    """Return the table and its separator: the one under which the header has a column `uri`, else a comma."""
    if match := _EXCEL.match(data):
        return data[match.end() :], match[1].decode("latin-1")
    lines = io.TextIOWrapper(io.BytesIO(data[:1_000_000]), "utf-8", errors="replace", newline="")
    text = next((line for line in lines if line.strip()), "")
    for separator in _SEPARATORS:
        header = next(csv.reader([text], delimiter=separator), [])
        if "uri" in [name.strip() for name in header]:
            return data, separator
    return data, ","


def _parse(data: bytes, kind: str, **options: object) -> pl.DataFrame:
    """Parse with polars; its error texts are not repeated, as they may quote cells."""
    try:
        if kind == "Parquet":
            return pl.read_parquet(io.BytesIO(data))
        return pl.read_csv(data, infer_schema=False, **options)  # type: ignore[arg-type]  # each as read_csv has it
    except (pl.exceptions.PolarsError, OSError) as error:
        if "utf-8" in str(error):
            raise ManifestError("is not UTF-8: save it as UTF-8") from None
        if "more fields" in str(error):
            raise ManifestError("is not valid CSV: a row has more cells than the header") from None
        raise ManifestError(f"is not valid {kind}") from None


def _rows_of_frame(frame: pl.DataFrame, *, blank: bool = False) -> Rows:
    """Split off the named columns; `blank` drops rows without any value, which still count in row numbers."""
    _check_columns(frame.columns)
    given = {name: frame[name] for name in NAMES if name in frame.columns}
    for name, column in given.items():
        if not (
            column.dtype.is_numeric()
            or column.dtype in {pl.String, pl.Null}
            or isinstance(column.dtype, pl.Enum | pl.Categorical)
        ):
            raise ManifestError(f"has a column {name!r} that is neither text nor numbers")
    table = pl.DataFrame(
        {ROW: pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True)}
        | {name: given[name].cast(pl.String) if name in given else _empty_column(frame.height) for name in NAMES}
    )
    other = frame.drop(NAMES, strict=False)
    if blank:
        filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        if not filled.all():
            table, other = table.filter(filled), other.filter(filled) if other.width else other
    if table.is_empty():
        raise ManifestError("names nothing")
    return Rows(table, other)


def _empty_column(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.String, eager=True)


def _check_columns(names: list[str]) -> None:
    if "uri" not in names:
        there = ", ".join(quote_value(name) for name in names[:_SHOWN_COLUMNS]) or "none"
        more = ", …" if len(names) > _SHOWN_COLUMNS else ""
        raise ManifestError(f"has no column 'uri': there are {there}{more}")


def _read_json(data: bytes) -> Rows:
    parts: list[pl.DataFrame] = []
    held: list[tuple[int | str | None, ...]] = []
    names: dict[str, None] = {}
    schema = COLUMNS | {OTHER_JSON: pl.String}
    for number, value in _iter_objects(data.removeprefix(_BOM)):
        names.update(dict.fromkeys(value))
        named = [_as_text(value.pop(name, None), name, number) for name in NAMES]
        held.append((number, *named, encode_other(value)))
        if len(held) == _BATCH:
            parts.append(pl.DataFrame(held, schema, orient="row"))
            held = []
    frame = pl.concat([*parts, pl.DataFrame(held, schema, orient="row")])
    if frame.is_empty():
        raise ManifestError("names nothing")
    _check_columns(list(names))
    return Rows(frame.select(*COLUMNS), frame.select(OTHER_JSON))


def _iter_objects(data: bytes) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
            if _LOSSY.search(line):
                value = json.loads(line, parse_int=_Number, parse_float=_Number)
        except orjson.JSONDecodeError as error:
            line.decode()
            raise ManifestError(f"is not valid JSON Lines: row {number}: {error.msg}") from None
        if not isinstance(value, dict):
            raise ManifestError(f"is not valid JSON Lines: row {number} is not an object")
        yield number, value


def _as_text(value: object, name: str, number: int) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ManifestError(f"row {number}: {name} {quote_value(value)} is neither text nor a number")


def encode_other(value: dict[str, object]) -> str | None:
    """Encode the other columns of a row as JSON, URLs redacted; None without any."""
    if not value:
        return None
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
    return orjson.dumps(_redact(value), default=_encode_value, option=options).decode()


def _redact(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, _Number):
        return redact_text(value) if "://" in value or "%3A" in value or "%3a" in value else value
    if isinstance(value, dict):
        return {_redact(key): _redact(each) for key, each in value.items()}
    return [_redact(each) for each in value] if isinstance(value, list) else value


def _encode_value(value: object) -> str | orjson.Fragment:
    """Encode a value without a JSON type as text, bytes in hexadecimal; numbers keep their text."""
    if isinstance(value, _Number):
        return orjson.Fragment(value.encode())
    return value.hex() if isinstance(value, bytes) else str(value)
