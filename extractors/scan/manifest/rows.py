"""The rows of a manifest of any kind: a table of uri, document and page, and one of whatever else it says."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple

import orjson
import polars as pl

from extractors.core.errors import shown
from extractors.scan.redact import words

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = "row"  # the number that a person counts it by
NAMES = ("uri", "document", "page")
SAID = "\0"  # the one column of what else is said where that is JSON already: no other is named so
COLUMNS = {ROW: pl.UInt32, "uri": pl.String, "document": pl.String, "page": pl.String}
_BATCH = 20_000  # lines that are held as Python's objects at once
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 and UTF-32 begin
_SHOWN_COLUMNS = 20


class Rows(NamedTuple):
    """The rows that name something, in order. `table` has the columns COLUMNS, all text but the first; `other` the rest.

    `unit` is what a row is called.
    """

    table: pl.DataFrame
    other: pl.DataFrame
    unit: str = "row"


class Unreadable(ValueError):  # noqa: N818 - it is what the file is
    """What is wrong with the file, to be read after its name."""


def read_rows(kind: str, data: bytes) -> Rows:
    """The rows in the bytes of a manifest of this kind. Raises Unreadable for what holds none."""
    if not data.removeprefix(_BOM).strip():
        raise Unreadable("is empty")
    if kind == ".parquet":
        return _of_frame(_parsed(data, "Parquet"))
    if data.startswith(_WIDE) or b"\0" in data[:1000]:
        raise Unreadable("is not UTF-8: save it as UTF-8")
    try:
        return {".txt": _of_text, ".csv": _of_csv, ".jsonl": _of_json}[kind](data)
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8: save it as UTF-8") from error


def quoted(value: object) -> str:
    """A value of the manifest as an error shows it: short, and without what opens a URL."""
    text = shown(words(value) if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _of_text(data: bytes) -> Rows:
    frame = _parsed(data, "text", has_header=False, separator="\x1f", quote_char=None, new_columns=["uri"])
    rows = _of_frame(frame.with_columns(pl.col("uri").str.strip_chars().replace("", None)), blank=True)
    return rows._replace(unit="line")


def _of_csv(data: bytes) -> Rows:
    frame = _parsed(data, "CSV")
    names = [name.strip() for name in frame.columns]
    copies = [name.rpartition("_duplicated_")[0] for name in names if re.search(r".+_duplicated_\d+$", name)]
    if twice := next((name for name in [*copies, *names] if name in copies or names.count(name) > 1), None):
        raise Unreadable(f"has two columns named {quoted(twice)}")
    frame.columns = names
    return _of_frame(frame, blank=True)._replace(unit="data row")


def _parsed(data: bytes, kind: str, **options: object) -> pl.DataFrame:
    """What polars reads in the bytes; its words are not repeated, as they may hold what stands there."""
    try:
        if kind == "Parquet":
            return pl.read_parquet(io.BytesIO(data))
        return pl.read_csv(data, infer_schema=False, **options)  # type: ignore[arg-type]  # each as read_csv has it
    except (pl.exceptions.PolarsError, OSError) as error:
        if "utf-8" in str(error):
            raise Unreadable("is not UTF-8: save it as UTF-8") from None
        if "more fields" in str(error):
            raise Unreadable("is no CSV that can be read: a row has more cells than the header has names") from None
        raise Unreadable(f"is no {kind} that can be read") from None


def _of_frame(frame: pl.DataFrame, *, blank: bool = False) -> Rows:
    """`blank`: rows without any cell are left out, but counted."""
    _check_columns(frame.columns)
    given = {name: frame[name] for name in NAMES if name in frame.columns}
    for name, column in given.items():
        if not (
            column.dtype.is_numeric()
            or column.dtype in {pl.String, pl.Null}
            or isinstance(column.dtype, pl.Enum | pl.Categorical)
        ):
            raise Unreadable(f"has a column {name!r} that is neither text nor numbers")
    table = pl.DataFrame(
        {ROW: pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True)}
        | {name: given[name].cast(pl.String) if name in given else _nothing(frame.height) for name in NAMES}
    )
    other = frame.drop(NAMES, strict=False)
    if blank:
        filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        if not filled.all():
            table, other = table.filter(filled), other.filter(filled) if other.width else other
    if table.is_empty():
        raise Unreadable("names nothing")
    return Rows(table, other)


def _nothing(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.String, eager=True)


def _check_columns(names: list[str]) -> None:
    if "uri" not in names:
        there = ", ".join(quoted(name) for name in names[:_SHOWN_COLUMNS]) or "none"
        more = ", …" if len(names) > _SHOWN_COLUMNS else ""
        raise Unreadable(f"has no column 'uri': there are {there}{more}")


def _of_json(data: bytes) -> Rows:
    parts: list[pl.DataFrame] = []
    held: list[tuple[int, str | None, str | None, str | None, str | None]] = []
    names: dict[str, None] = {}
    schema = COLUMNS | {SAID: pl.String}
    for number, value in _objects(data.removeprefix(_BOM)):
        names.update(dict.fromkeys(value))
        uri, document, page = (_text(value.pop(name, None), name, number) for name in NAMES)
        held.append((number, uri, document, page, as_json(value)))
        if len(held) == _BATCH:
            parts.append(pl.DataFrame(held, schema, orient="row"))
            held = []
    frame = pl.concat([*parts, pl.DataFrame(held, schema, orient="row")])
    if frame.is_empty():
        raise Unreadable("names nothing")
    _check_columns(list(names))
    return Rows(frame.select(*COLUMNS), frame.select(SAID))


def _objects(data: bytes) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            line.decode()
            raise Unreadable(f"is no JSON Lines: row {number}: {error.msg}") from None
        if not isinstance(value, dict):
            raise Unreadable(f"is no JSON Lines: row {number} is no object")
        yield number, value


def _text(value: object, name: str, number: int) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Unreadable(f"row {number}: {name} {quoted(value)} is neither text nor a number")


def as_json(value: dict[str, object]) -> str | None:
    """What else a row says, without what opens the URLs in it; None when it says nothing."""
    if not value:
        return None
    return orjson.dumps(_bare(value), default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _bare(value: object) -> object:
    if isinstance(value, str):
        return words(value) if "://" in value or "%3A" in value or "%3a" in value else value
    if isinstance(value, dict):
        return {_bare(key): _bare(each) for key, each in value.items()}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _plain(value: object) -> str:
    """What JSON has no kind for, as text; bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else str(value)
