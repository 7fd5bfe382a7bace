"""Values of fields on the page: as text to read, and as JSON text in which a correction can be downloaded unchanged.

| type                | text                    | JSON                                        |
|---------------------|-------------------------|---------------------------------------------|
| text, date, time    | as it is, in ISO format | a string                                    |
| whole number, float | as it is                | a number                                    |
| decimal             | `21.10`, `1`            | a string with the same digits, as in truth  |
| flag                | `yes`, `no`             | `true`, `false`                             |
| list, struct        | one line an item        | an array, an object                         |
| null                | nothing                 | `null`                                      |
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson
import polars as pl

from extractors.report.page.evidence import EvidenceView

if TYPE_CHECKING:
    from polars.datatypes import DataType

Kind = Literal["text", "date", "number", "decimal", "flag", "json"]
NO_EVIDENCE = EvidenceView()
MOST_CHARACTERS = 6_000  # of a value on the page; a longer one is cut and cannot be corrected there
_UNSAFE = str.maketrans(dict.fromkeys(range(32), " ") | {127: " "})  # control characters, which HTML does not keep


class FieldValue(NamedTuple):
    """One field of one row: `json` is empty where the text itself is the value; `cut` is too long for the page.

    `confidence` is None where it is unknown; `seen` is where the value stands.
    """

    field: str
    text: str
    kind: Kind
    json: str = ""
    is_null: bool = False
    cut: bool = False
    confidence: float | None = None
    seen: EvidenceView = NO_EVIDENCE


def make_value(field: str, value: object, dtype: DataType) -> FieldValue:
    """The value of a field as the page shows it."""
    kind, is_null = kind_of(dtype), value is None
    text, data = format_text(value), to_json(value)
    if max(len(text), len(data)) > MOST_CHARACTERS:
        return FieldValue(field, text[:MOST_CHARACTERS], kind, cut=True)
    same = kind in {"text", "date"} and not is_null and text.translate(_UNSAFE) == text
    return FieldValue(field, text, kind, "" if same else data, is_null)


def kind_of(dtype: DataType) -> Kind:
    """How values of this type are written in JSON."""
    if dtype.is_decimal():
        return "decimal"
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "flag"
    if dtype == pl.Date:
        return "date"
    return "json" if dtype.is_nested() else "text"


def format_text(value: object) -> str:
    """The value to read: items one a line, the parts of an item joined by dots."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return format_decimal(value)
        case dict():
            return " · ".join(format_text(part) or "-" for part in value.values())
        case list():
            return "\n".join(format_text(part).replace("\n", ", ") or "-" for part in value)
        case _:
            return value.isoformat() if hasattr(value, "isoformat") else str(value)


def format_decimal(value: Decimal) -> str:
    """The digits without zeros that only the column's scale has added: an amount keeps two."""
    whole, _, part = f"{value:f}".partition(".")
    part = part.rstrip("0")
    return f"{whole}.{part:0<2}" if part else whole


def to_json(value: object) -> str:
    """The value as JSON text, which holds decimals as strings; a number that JSON has no name for is null."""
    return orjson.dumps(value, default=_encode).decode()


def _encode(value: object) -> object:
    return format_decimal(value) if isinstance(value, Decimal) else str(value)
