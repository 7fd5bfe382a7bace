"""Compares a document with the JSON that it was read from, for what pydantic overlooks.

| answer | is |
|---|---|
| `{"total": 5, "total": 7}` | no document: one of the values is wrong |
| `{"company": "A", "Total": 5}`, `{"company": "A", "receipt": {"total": 5}}` | no document: `total` is there, and would be null |
| `{"company": "A", "items": [{"description": "…"}]}`, where `line_items` is empty | no document: the rows are there |
| `{"error": "…"}`, `{"lines": [{"item": "bolt"}]}`: no name in an object is a field's | no document: it would be empty |
| `{"number": 2024.10}` for text, or more digits than a float has for a Decimal | read again, with every digit |
| `{"company": "caf�"}`, the sign that servers write for a part of a character | no document |

Other names that are no field's are ignored, as the schema's model says.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel

from extractors.core.annotations import iter_models

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FLOAT_DIGITS = 15  # of a number that a float holds exactly
_LITERAL = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?P<number>-?\d++(?=[.eE])(?:\.\d++)?(?:[eE][+-]?\d++)?)|-?\d++', re.DOTALL
)
_UNREADABLE = re.compile(r"\ufffd|\\ufffd", re.IGNORECASE)
_NO_LETTERS = re.compile(r"[\W_]+")


class _WrittenFloat(str):
    """A number as it is written."""

    __slots__ = ()

    @property
    def is_long(self) -> bool:
        """Whether a float may have fewer digits."""
        if len(self) <= FLOAT_DIGITS:
            return False
        mantissa = re.split("[eE]", self)[0]
        return len(mantissa.replace(".", "").strip("-0")) > FLOAT_DIGITS


class DocumentDifference(NamedTuple):
    """What a document lacks of its JSON: an error in words, or digits, with the field of the first text that lacks some."""

    error: str = ""
    lost_digits: bool = False
    text_field: str = ""


def read_exactly(document: BaseModel, candidate: str, model: type[BaseModel]) -> tuple[BaseModel, str]:
    """The document with every digit of its JSON, and what makes it no document, in words; empty where nothing does."""
    if _UNREADABLE.search(candidate):
        return document, "document: U+FFFD stands for a character that was lost: write the character itself"
    difference = _find_difference(document, candidate)
    if difference.lost_digits:
        document = _read_every_digit(document, candidate, model)
        difference = _find_difference(document, candidate)
        if difference.text_field:
            return document, f"{difference.text_field}: give the number as text, exactly as printed"
    return document, difference.error


def _find_difference(document: BaseModel, candidate: str) -> DocumentDifference:
    try:
        written = _DECODER.decode(candidate)
        lost: list[DocumentDifference] = []
        _compare(document, written, "", lost)
    except _NameError as error:
        return DocumentDifference(str(error))
    except ValueError:  # a number of more digits than Python reads
        return DocumentDifference()
    return max(lost, default=DocumentDifference())


def _read_every_digit(document: BaseModel, candidate: str, model: type[BaseModel]) -> BaseModel:
    """The document read again with its numbers as text; as it is where the model takes no text, or reads another type."""
    text = _LITERAL.sub(lambda match: f'"{match[0]}"' if match["number"] else match[0], candidate)
    try:
        exact = model.model_validate_json(text)
    except Exception:  # noqa: BLE001 - a schema's own code may raise anything; the first reading stands
        return document
    return exact if _have_same_types(document, exact) else document


class _NameError(Exception):
    """Carries the words of what is wrong with a name."""


def _join_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    joined = dict(pairs)
    if len(joined) < len(pairs):
        for name, value in pairs:
            if value != joined[name] and not _is_same_number(value, joined[name]):
                raise _NameError(f"{name}: the name stands twice in one object, with different values")
    return joined


_DECODER = json.JSONDecoder(object_pairs_hook=_join_pairs, parse_float=_WrittenFloat)


def _is_same_number(one: object, other: object) -> bool:
    numbers = [float(each) for each in (one, other) if isinstance(each, _WrittenFloat | int)]
    return len(numbers) == 2 and numbers[0] == numbers[1]


def _compare(value: object, written: object, path: str, lost: list[DocumentDifference]) -> None:
    """Adds the numbers that have lost digits to `lost`. Raises _NameError."""
    if isinstance(written, _WrittenFloat):
        if isinstance(value, str) and str(float(written)) == value != written:
            lost.append(DocumentDifference(lost_digits=True, text_field=path))
        elif isinstance(value, Decimal) and written.is_long:
            lost.append(DocumentDifference(lost_digits=True))
    elif isinstance(value, RootModel):
        _compare(value.root, written, path, lost)
    elif isinstance(written, dict):
        if isinstance(value, BaseModel):
            _compare_model(value, written, path, lost)
    elif isinstance(value, list | tuple) and isinstance(written, list) and len(value) == len(written):
        for number, (item, item_written) in enumerate(zip(value, written, strict=True)):
            _compare(item, item_written, _join(path, number), lost)


def _compare_model(document: BaseModel, written: dict[str, object], path: str, lost: list[DocumentDifference]) -> None:
    names, values, unknown = _map_names(type(document)), document.__dict__, {}
    for name, item in written.items():
        field = names.get(name)
        if field is None:
            unknown[name] = item
        elif isinstance(item, list | dict) or (
            isinstance(item, _WrittenFloat) and not isinstance(values.get(field), float)
        ):
            _compare(values.get(field), item, _join(path, name), lost)
    if unknown:
        if len(unknown) == len(written) and values and not document.model_fields_set:
            raise _NameError(f"{path or 'document'}: no name in the object is a field of {type(document).__name__}")
        _check_unknown(document, unknown, path)


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _check_unknown(document: BaseModel, unknown: dict[str, object], path: str) -> None:
    """Raises _NameError where what stands under an unknown name belongs to a field that is empty."""
    fields, given = type(document).model_fields, document.model_fields_set
    filled = {name for name in given if not _is_empty(document.__dict__.get(name))}
    empty = {name: field for name, field in fields.items() if name not in filled}
    folded = {_fold(each): name for name, field in empty.items() for each in (name, *list_aliases(field))}
    for name, value in unknown.items():
        if _is_empty(value):
            continue
        inside = [key for key, item in value.items() if not _is_empty(item)] if isinstance(value, dict) else []
        field = next((folded[_fold(each)] for each in (name, *inside) if _fold(each) in folded), None)
        field = field or next((each for each in empty if _holds_rows(value, empty[each])), None)
        if field is not None:
            message = f"{_join(path, name)}: no such field; what stands there belongs to {_join(path, field)}"
            raise _NameError(message[:200])


def _holds_rows(value: object, field: FieldInfo) -> bool:
    """Whether this is a list of rows that a field takes."""
    if not isinstance(value, list) or not all(isinstance(row, dict) and row for row in value):
        return False
    return any(all(_fits(row, model) for row in value) for model in iter_models(field.annotation))


def _fits(row: object, model: type[BaseModel]) -> bool:
    try:
        return bool(model.model_validate(row).model_fields_set)
    except Exception:  # noqa: BLE001 - a schema's own code may raise anything
        return False


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | dict | tuple) and not value)


def _fold(name: str) -> str:
    return _NO_LETTERS.sub("", name).casefold()


@lru_cache(maxsize=256)
def _map_names(model: type[BaseModel]) -> dict[str, str]:
    """The names under which the model reads its fields."""
    config = model.model_config
    names: dict[str, str] = {}
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
    for name, field in model.model_fields.items():
        aliases = list_aliases(field)
        names |= dict.fromkeys(aliases, name)
        if by_name or not aliases:
            names[name] = name
    return names


def list_aliases(field: FieldInfo) -> list[str]:
    """The names under which a field is read instead of its own."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [] if alias is None else [alias]
    return [str(choice.path[0]) if isinstance(choice, AliasPath) else choice for choice in choices]


def _have_same_types(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, BaseModel) and isinstance(other, BaseModel):
        return all(_have_same_types(value, other.__dict__.get(name)) for name, value in one.__dict__.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_have_same_types, one, other))
    return True
