"""The smallest instance of a JSON schema that a validator is likely to take, made without looking at any picture."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from extractors.endpoint.schema import branches, resolved

if TYPE_CHECKING:
    from extractors.endpoint.wire import Schema

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
_DEEPEST = 8  # a schema that holds itself ends here


def instance(schema: Schema) -> Any:
    """A minimal instance: every property, and of `X or null` the X, as all-empty documents are often refused."""
    return _instance(schema, schema, 0)


def _instance(node: Schema, root: Schema, depth: int) -> Any:
    node = resolved(node, root)
    for key in ("const", "default"):
        if node.get(key) is not None:
            return node[key]
    if node.get("enum"):
        return next((each for each in node["enum"] if each is not None), None)
    if choices := branches(node, root):
        solid = [each for each in choices if each.get("type") != "null"]
        return _instance(solid[0], root, depth) if solid and depth < _DEEPEST else None
    return _of_type(node, root, depth)


def _of_type(node: Schema, root: Schema, depth: int) -> Any:
    kinds = node.get("type", "object" if "properties" in node else "string")
    kind = next((each for each in kinds if each != "null"), "null") if isinstance(kinds, list) else kinds
    if kind == "object":
        required = set(node.get("required", ()))
        properties = node.get("properties", {}).items()
        kept = [(name, each) for name, each in properties if depth < _DEEPEST or name in required]
        return {name: _instance(each, root, depth + 1) for name, each in kept} if depth < 2 * _DEEPEST else {}
    if kind == "array":
        return _items(node, root, depth)
    if kind in {"number", "integer"}:
        return _number(node, whole=kind == "integer")
    return {"string": _string(node), "boolean": False}.get(kind)


def _items(node: Schema, root: Schema, depth: int) -> list[Any]:
    fixed = [_instance(each, root, depth + 1) for each in node.get("prefixItems", ())]
    least = node.get("minItems", 0)
    more = [_instance(node.get("items") or {}, root, depth + 1) for _ in range(least - len(fixed))]
    return fixed + more


def _number(node: Schema, *, whole: bool) -> float:
    """1, or the number nearest to a bound that the bounds and the step allow."""
    low, high = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum", node.get("exclusiveMaximum"))
    step = node.get("multipleOf") or 1
    tries: list[float] = [1, step, 0]
    tries += [math.floor(low), math.floor(low) + 1, low, (math.floor(low / step) + 1) * step] if low is not None else []
    tries += [math.ceil(high) - 1, high, (math.ceil(high / step) - 1) * step] if high is not None else []
    tries += [(low + high) / 2] if low is not None and high is not None else []
    return next((each for each in tries if _allowed(each, node, whole=whole)), 1)


def _allowed(value: float, node: Schema, *, whole: bool) -> bool:
    return (
        value >= node.get("minimum", -math.inf)
        and value > node.get("exclusiveMinimum", -math.inf)
        and value <= node.get("maximum", math.inf)
        and value < node.get("exclusiveMaximum", math.inf)
        and not (whole and value != int(value))
        and not ("multipleOf" in node and value % node["multipleOf"])
    )


def _string(node: Schema) -> str:
    text = _FORMATS.get(node.get("format", ""))
    if text is None and "pattern" in node:
        text = _matching(node["pattern"])
    text = text if text is not None else "echo"
    text = text.ljust(node.get("minLength", 0), "o")
    return text[: node.get("maxLength", len(text))]


def _matching(pattern: str) -> str:
    """A text for the simple patterns that schemas use; "echo" where none of these fits."""
    tries = (
        "echo",
        "ECHO",
        "1",
        "1.00",
        "2000-01-01",
        "00:00",
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
