"""Fill a JSON schema with the words of pictures. Only values that were read are filled in.

What is not found is null where the schema allows that, an empty text or list where it does not, and a number, date or
choice is left out: then the document fails its validation, as it should.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from extractors.endpoint.fill.find.codes import find_labelled, find_labelled_date, find_number
from extractors.endpoint.fill.find.labels import letters
from extractors.endpoint.fill.finders import LISTS, NUMBERS, TEXTS
from extractors.endpoint.fill.json_schema import Field, Schema, build_field
from extractors.endpoint.fill.kinds import kind_of, split_name
from extractors.endpoint.fill.records import fill_differences, fill_records

if TYPE_CHECKING:
    from extractors.endpoint.ocr.words import OcrDocument

_HONEST = ("other", "unknown", "none", "unspecified", "n/a", "misc", "text")  # choices that claim nothing
_DEEPEST = 5  # objects in objects; a schema may hold itself
_YES = ("YES", "TRUE", "JA", "OUI", "SI")
_NO = ("NO", "FALSE", "NEIN", "NON")


class _Missing:
    """Stands for a value that was not found."""


MISSING = _Missing()


def fill_schema(schema: Schema, document: OcrDocument) -> Any:
    """The instance of the schema that the words make."""
    value = _fill_value(build_field("", schema, schema), document, "", 0)
    return None if value is MISSING else value


def _fill_value(wanted: Field, document: OcrDocument, parent: str, depth: int) -> Any:
    """The value of one field; MISSING where nothing honest can stand."""
    found = _find_value(wanted, document, parent, depth)
    if found is not MISSING and found is not None:
        return found
    if wanted.nullable:
        return None
    if wanted.branch_of("array"):
        return []
    return "" if wanted.just_text else MISSING


def _find_value(wanted: Field, document: OcrDocument, parent: str, depth: int) -> Any:
    if wanted.choices:
        return _choose_value(wanted, document)
    if wanted.branch_of("object"):
        return _fill_object(wanted, document, depth)
    if wanted.branch_of("array"):
        return _fill_array(wanted, document)
    kind = kind_of(wanted, parent)
    if number := wanted.branch_of("number", "integer"):
        return _find_number(wanted, kind, document, whole=number.get("type") == "integer")
    if wanted.branch_of("boolean"):
        return _find_boolean(wanted, document)
    return _find_text(wanted, kind, document)


def _fill_object(wanted: Field, document: OcrDocument, depth: int) -> dict[str, Any] | None:
    if depth > _DEEPEST:
        return None if wanted.nullable else {}
    filled = {each.name: _fill_value(each, document, wanted.name, depth + 1) for each in wanted.fields()}
    kept = {name: value for name, value in filled.items() if value is not MISSING}
    empty = all(value in (None, "", [], {}) for value in kept.values())
    return None if empty and wanted.nullable and depth else kept


def _fill_array(wanted: Field, document: OcrDocument) -> list[Any] | None:
    item, kind = wanted.item(), kind_of(wanted, "")
    if item.branch_of("object"):
        compares = kind == "different" and len(document.pages) > 1
        return fill_differences(item, document) if compares else fill_records(item, document)
    if item.branch_of("array"):
        return LISTS["table_rows"](document)
    if item.choices:
        read = letters(" ".join(document.texts))
        return [each for each in item.choices if isinstance(each, str) and letters(each) in read]
    if item.branch_of("string"):
        return LISTS.get(kind, LISTS[""])(document)
    return None


def _choose_value(wanted: Field, document: OcrDocument) -> Any:
    """The choice whose words were read; the only one; else one that claims nothing."""
    if len(wanted.choices) == 1 and not wanted.nullable:
        return wanted.choices[0]
    if kind_of(wanted, "") == "currency":
        found = TEXTS["currency"](document)
        return found if found in wanted.choices else MISSING
    read = letters(" ".join(document.texts))
    named = [
        each for each in wanted.choices if isinstance(each, str) and len(letters(each)) > 2 and letters(each) in read
    ]
    honest = [each for each in wanted.choices if isinstance(each, str) and each.lower() in _HONEST]
    solid = [each for each in named if each not in honest]
    return next(iter(solid or ([] if wanted.nullable else honest)), MISSING)


def _find_number(wanted: Field, kind: str, document: OcrDocument, *, whole: bool) -> float | None:
    finder = NUMBERS.get(kind, NUMBERS[""])
    found = finder(document, split_name(wanted.name))
    if found is None:
        return None
    return int(found) if whole else float(found)


def _find_text(wanted: Field, kind: str, document: OcrDocument) -> str | None:
    """A text; of an amount its digits, of a date its ISO form."""
    if kind in TEXTS:
        value: object = TEXTS[kind](document)
    elif kind in NUMBERS and kind:
        value = NUMBERS[kind](document, split_name(wanted.name))
    elif kind == "other_date":
        value = find_labelled_date(document, split_name(wanted.name))
    elif kind == "number":
        value = find_number(document, split_name(wanted.name))
    else:
        value = find_labelled(document, split_name(wanted.name))
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00" if wanted.format == "date-time" else value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else None if value is None else str(value)


def _find_boolean(wanted: Field, document: OcrDocument) -> bool | None:
    """What stands beside the field's name; a mere mention says nothing."""
    label = (find_labelled(document, split_name(wanted.name)) or "").upper().split(" ")[0]
    return True if label in _YES else False if label in _NO else None
