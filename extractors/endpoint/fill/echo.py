"""The smallest instance of a JSON schema that a validator is likely to accept, built without any picture."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from extractors.endpoint.fill.json_schema import Schema, resolve_references, type_of

_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "echo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "hostname": "example.com",
}
_DEEPEST = 10


def build_instance(schema: Schema) -> Any:
    """A minimal instance: every property, and of `X or null` the X, as all-empty documents are often refused."""
    return _build_value(schema, _Place(schema))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a schema: its root, and the references followed to get there. One that comes again goes on for ever."""

    root: Schema
    followed: frozenset[str] = frozenset()

    def is_recursive(self, node: object) -> bool:
        return isinstance(node, dict) and node.get("$ref") in self.followed

    def descend(self, node: object) -> _Place:
        if not isinstance(node, dict) or "$ref" not in node:
            return self
        return replace(self, followed=self.followed | {node["$ref"]})


def _build_value(node: Schema, place: _Place) -> Any:
    if place.is_recursive(node):
        return {}
    place, node = place.descend(node), resolve_references(node, place.root)
    for key in ("const", "default"):
        if node.get(key) is not None:
            return node[key]
    if node.get("enum"):
        return next((each for each in node["enum"] if each is not None), None)
    if ways := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
        solid = (each for each in ways if not place.is_recursive(each) and each != {"type": "null"})
        chosen = next(solid, None)
        return None if chosen is None else _build_value(chosen, place)
    return _build_typed(node, place)


def _build_typed(node: Schema, place: _Place) -> Any:
    match type_of(node):
        case "object":
            return {name: _build_value(each, place) for name, each in node.get("properties", {}).items()}
        case "array":
            fixed = [_build_value(each, place) for each in node.get("prefixItems", ())]
            item = node.get("items") or {}
            least = max(node.get("minItems", 0), _has_amounts(item, place.root) and node.get("maxItems", 1))
            more = 0 if place.is_recursive(item) else least - len(fixed)
            return fixed + [_build_value(item, place) for _ in range(more)]
        case "number" | "integer" as number:
            return _build_number(node, whole=number == "integer")
        case "string":
            return _build_string(node)
        case other:
            return False if other == "boolean" else None


def _has_amounts(item: Schema, root: Schema) -> bool:
    """Whether a list has rows of scalars with a number: it gets one row of 1, which adds up to a total of 1."""
    properties = resolve_references(item, root).get("properties", {})
    kinds = {name for each in properties.values() for name in _list_kinds(each, root)}
    return bool(kinds & {"number", "integer"}) and not kinds & {"array", "object"}


def _list_kinds(node: Schema, root: Schema, depth: int = 0) -> set[str]:
    node = resolve_references(node, root)
    if depth > _DEEPEST:  # a schema may contain itself
        return set()
    ways = node.get("anyOf") or node.get("oneOf") or node.get("allOf")
    return {name for each in ways for name in _list_kinds(each, root, depth + 1)} if ways else {str(type_of(node))}


def _build_number(node: Schema, *, whole: bool) -> float:
    """1, or the number nearest to a bound that the bounds and the step allow."""
    low, high = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum", node.get("exclusiveMaximum"))
    step = node.get("multipleOf") or 1
    tries: list[float] = [1, step, 0]
    tries += [math.floor(low), math.floor(low) + 1, low, (math.floor(low / step) + 1) * step] if low is not None else []
    tries += [math.ceil(high) - 1, high, (math.ceil(high / step) - 1) * step] if high is not None else []
    tries += [(low + high) / 2] if low is not None and high is not None else []
    return next((each for each in tries if _is_allowed(each, node, whole=whole)), 1)


def _is_allowed(value: float, node: Schema, *, whole: bool) -> bool:
    return (
        value >= node.get("minimum", -math.inf)
        and value > node.get("exclusiveMinimum", -math.inf)
        and value <= node.get("maximum", math.inf)
        and value < node.get("exclusiveMaximum", math.inf)
        and not (whole and value != int(value))
        and not ("multipleOf" in node and value % node["multipleOf"])
    )


def _build_string(node: Schema) -> str:
    text = _FORMATS.get(node.get("format", ""))
    if text is None and "pattern" in node:
        text = _build_matching(node["pattern"])
    text = text if text is not None else "echo"
    text = text.ljust(node.get("minLength", 0), "o")
    return text[: node.get("maxLength", len(text))]


def _build_matching(pattern: str) -> str:
    """A text for the simple patterns that schemas use; "echo" where none of these fits."""
    tries = (
        "echo",
        "ECHO",
        "1",
        "1.00",
        "2000-01-01",
        "00:00",
        "EUR",
        "XXX",
        "XX",
        "#000000",
        "en",
        "a",
        "A",
        "E1",
        "e-1",
        "",
    )
    try:
        return next((each for each in tries if re.search(pattern, each)), "echo")
    except re.error:
        return "echo"
