"""Finds where the value of each field stands in the JSON text of a document, by the rules by which pydantic reads it.

| in the text | the field's value |
|---|---|
| a key twice | the last one |
| a key by alias and one by name | the one by alias |
| a key that only an alias of a path reads, as in `AliasPath("seller", "name")` | unknown |
| no key of the field | none: the value is a default |
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import orjson
from pydantic import AliasChoices, AliasPath, RootModel

if TYPE_CHECKING:
    from pydantic import BaseModel

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"[\s,]*(?P<key>" + _TEXT + rb")\s*:\s*", re.DOTALL)
_SCALAR = re.compile(_TEXT + rb"|[^\s,{}\[\]]+", re.DOTALL)
_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:' + _TEXT + rb'[^"{}\[\]]*+)*+(?P<bracket>[{}\[\]])', re.DOTALL)


class Span(NamedTuple):
    """The bytes of a value, its quotes or brackets included."""

    start: int
    end: int


def find_values(text: bytes, model: type[BaseModel]) -> dict[str, Span | None]:
    """The span of each field's value in this text, None where the text does not tell it; a root model has one field."""
    if issubclass(model, RootModel):
        return {"root": Span(0, len(text))}
    members = _find_members(text)
    spans = {name: _choose(members, keys) for name, keys in _list_keys(model).items()}
    return spans | dict.fromkeys(model.model_computed_fields)


@lru_cache(maxsize=8)
def _list_keys(model: type[BaseModel]) -> dict[str, list[str | AliasPath]]:
    """The keys of each field in the order in which pydantic looks for them."""
    by_alias = model.model_config.get("validate_by_alias", True) is not False
    by_name = bool(model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"))
    keys: dict[str, list[str | AliasPath]] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias if by_alias else None
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        keys[name] = [*choices, name] if by_name else [*choices]
    return keys


def _find_members(text: bytes) -> dict[str, Span]:
    """The value of each key of an object; nothing for what is no object."""
    members: dict[str, Span] = {}
    at = 1
    while text.startswith(b"{") and (match := _KEY.match(text, at)):
        end = _find_end(text, match.end())
        if end is None:
            return {}
        members[_read_key(match["key"])] = Span(match.end(), end)
        at = end
    return members


def _read_key(quoted: bytes) -> str:
    return str(orjson.loads(quoted)) if b"\\" in quoted else quoted[1:-1].decode("utf-8", "replace")


def _find_end(text: bytes, start: int) -> int | None:
    """Where the value ends that begins here."""
    if text[start : start + 1] not in {b"{", b"["}:
        matched = _SCALAR.match(text, start)
        return matched.end() if matched else None
    depth, at = 0, start
    while matched := _BRACKET.match(text, at):
        at = matched.end()
        depth += 1 if matched["bracket"] in b"{[" else -1
        if depth == 0:
            return at
    return None


def _choose(members: dict[str, Span], keys: list[str | AliasPath]) -> Span | None:
    """The value at the first of these keys that is there."""
    for key in keys:
        if isinstance(key, str):
            if key in members:
                return members[key]
        elif key.path[0] in members:
            return members[str(key.path[0])] if len(key.path) == 1 else None
    return None
