"""Lists of objects: the items of a receipt if the object has numbers, else one object per line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from extractors.endpoint.fill.find.prose import compare_lines
from extractors.endpoint.fill.find.rows import Row, find_rows
from extractors.endpoint.fill.kinds import kind_of, split_name

if TYPE_CHECKING:
    from decimal import Decimal

    from extractors.endpoint.fill.json_schema import Field
    from extractors.endpoint.ocr.words import OcrDocument

_COLUMNS = (
    ("unit_price", re.compile(r"\b(?:unit price|unit cost|price each|each|rate|price|unit amount)\b")),
    ("quantity", re.compile(r"\b(?:quantity|qty|count|units|number of)\b")),
    ("amount", re.compile(r"\b(?:amount|total|line total|sum|value|cost|subtotal)\b")),
    ("code", re.compile(r"\b(?:code|sku|item number|article number|barcode|id)\b")),
    ("description", re.compile(r"\b(?:description|name|item|product|title|article|text|label|content)\b")),
)
_HONEST = ("text", "other", "unknown")


def fill_records(item: Field, document: OcrDocument) -> list[Any]:
    """The objects of a list, each with what its row or line says."""
    fields = item.fields()
    if any(each.branch_of("number", "integer") and _column_of(each) in {"amount", "unit_price"} for each in fields):
        return [_build_record(fields, row) for row in find_rows(document)]
    return (
        [_build_text_record(fields, text) for text in document.parts] if any(each.just_text for each in fields) else []
    )


def fill_differences(item: Field, document: OcrDocument) -> list[Any]:
    """An object for each line that not every picture has, with what was read in each where a list asks for that."""
    fields = item.fields()
    lists = [each.name for each in fields if kind_of(each, "") == "each" and each.branch_of("array")]
    return [_build_text_record(fields, text) | dict.fromkeys(lists, every) for text, every in compare_lines(document)]


def _build_record(fields: list[Field], row: Row) -> dict[str, Any]:
    values = {each.name: (each, getattr(row, _column_of(each), None)) for each in fields}
    return {
        name: _convert_value(each, value)
        for name, (each, value) in values.items()
        if value is not None or _may_be_empty(each)
    }


def _column_of(wanted: Field) -> str:
    name = split_name(wanted.name)
    return next((column for column, words in _COLUMNS if words.search(name)), "")


def _convert_value(wanted: Field, value: Decimal | str | None) -> float | str | list[Any] | None:
    if value is None:
        return None if wanted.nullable else [] if wanted.branch_of("array") else ""
    if wanted.branch_of("number", "integer") and not isinstance(value, str):
        return int(value) if wanted.branch_of("integer") and not wanted.branch_of("number") else float(value)
    return str(value)


def _may_be_empty(wanted: Field) -> bool:
    return wanted.nullable or wanted.just_text or bool(wanted.branch_of("array"))


def _build_text_record(fields: list[Field], text: str) -> dict[str, Any]:
    """One line as an object: its text where a field asks for one, and nothing where a field asks for more."""
    texts = [each for each in fields if each.just_text]
    named = [
        each for each in texts if _column_of(each) == "description" and split_name(each.name) != "description"
    ] or texts
    record: dict[str, Any] = {}
    for each in fields:
        honest = next((choice for choice in each.choices if choice in _HONEST), None)
        if each is named[0]:
            record[each.name] = text
        elif each.nullable:
            record[each.name] = None
        elif honest is not None:
            record[each.name] = honest
        elif _may_be_empty(each):
            record[each.name] = "text" if split_name(each.name) in {"kind", "type"} else _convert_value(each, None)
    return record
