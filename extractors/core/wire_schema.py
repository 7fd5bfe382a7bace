"""A pydantic JSON schema in the form of strict structured output, or the note that strict mode cannot take it.

| in pydantic's schema                       | sent as                                              |
|--------------------------------------------|------------------------------------------------------|
| `title`, `default`                         | left out                                             |
| an object with properties                  | all of them required, no others allowed              |
| `$ref` beside a description                | `anyOf` with the reference alone                     |
| `oneOf` with `discriminator`               | `anyOf`                                              |
| `allOf` of one schema                      | that schema, by `anyOf` where it has siblings        |
| `uniqueItems`, formats and patterns that strict mode does not know | left out                     |
| lengths of texts, examples and notes (`_UNSUPPORTED`) | in the prompt alone, where strict mode takes the rest |
| a `$ref` at the root (a recursive model)   | the definition itself                                |
| dicts, tuples, values of any type, a root that is no object | as they are, with `strict: false`   |
"""

from __future__ import annotations

import re
from typing import cast

Json = dict[str, object]

_DROPPED = frozenset({"title", "default", "uniqueItems", "discriminator"})
_NAMES = frozenset({"properties", "$defs"})  # their keys are names of fields and models, not keywords
_LITERAL = frozenset({"enum", "const", "examples", "required"})  # their values are data, not schemas
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_LOOKAROUND = re.compile(r"\(\?[=!<]")
_TYPED = frozenset({"type", "$ref", "anyOf", "enum", "const"})  # one of them says what a value is
_UNSUPPORTED = frozenset(
    {"minLength", "maxLength", "minProperties", "maxProperties", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"contentMediaType", "contentEncoding", "contentSchema", "$comment"}
)
_NOT_STRICT = frozenset({"prefixItems", "patternProperties", "propertyNames", "allOf", "not", "if", "contains"})


def to_wire(schema: object) -> Json:
    """The JSON schema in the form of strict structured output, as far as it can be rewritten."""
    if not isinstance(schema, dict):
        raise TypeError("a JSON schema is an object")
    rewritten = cast("Json", _rewrite(schema))
    reference, definitions = rewritten.get("$ref"), rewritten.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        root = definitions.get(reference.removeprefix("#/$defs/"))
        if isinstance(root, dict):
            rest = {key: value for key, value in rewritten.items() if key != "$ref"}
            return {**root, **rest}
    return rewritten


def is_strict(wire: Json) -> bool:
    """Whether strict mode accepts this schema: an object at the root, and nothing in it that it does not know."""
    return wire.get("type") == "object" and "properties" in wire and _is_strict(wire)


def drop_unsupported(wire: Json) -> Json:
    """The schema without keywords that strict mode refuses and that only narrow or explain a value."""
    return {key: _drop_unsupported(value, key) for key, value in wire.items() if key not in _UNSUPPORTED}


def _drop_unsupported(value: object, key: str) -> object:
    if key in _LITERAL:
        return value
    if isinstance(value, list):
        return [_drop_unsupported(item, "") for item in value]
    if not isinstance(value, dict):
        return value
    if key in _NAMES:
        return {name: _drop_unsupported(inner, "") for name, inner in value.items()}
    return drop_unsupported(value)


def has_scalar_root(wire: Json) -> bool:
    """Whether no answer to this schema is an object or an array."""
    return not any(kind in {"object", "array", ""} for kind in _root_types(wire, wire, 0))


def _rewrite(node: object) -> object:
    if isinstance(node, list):
        return [_rewrite(item) for item in node]
    if not isinstance(node, dict):
        return node
    result: Json = {}
    for key, value in node.items():
        if key in _NAMES and isinstance(value, dict):
            result[key] = {name: _rewrite(inner) for name, inner in value.items()}
        elif key == "oneOf":
            result["anyOf"] = _rewrite(value)
        elif key in _LITERAL:
            result[key] = value
        elif key not in _DROPPED and _is_known(key, value):
            result[key] = _rewrite(value)
    if "properties" in node:
        result |= {"required": list(cast("Json", node["properties"])), "additionalProperties": False}
    return _separate_reference(result)


def _is_known(key: str, value: object) -> bool:
    if key == "format":
        return value in _FORMATS
    return not (key == "pattern" and isinstance(value, str) and _LOOKAROUND.search(value))


def _separate_reference(node: Json) -> Json:
    """A reference, or `allOf` of one schema, with siblings becomes `anyOf` of one: strict mode refuses the siblings."""
    parts = node.get("allOf")
    if isinstance(parts, list) and len(parts) == 1:
        rest = {key: value for key, value in node.items() if key != "allOf"}
        return {**rest, "anyOf": parts} if rest else cast("Json", parts[0])
    siblings = node.keys() - {"$ref", "$defs"}
    if "$ref" in node and siblings:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return {**rest, "anyOf": [{"$ref": node["$ref"]}]}
    return node


def _is_strict(node: object) -> bool:
    if not isinstance(node, dict):
        return False
    if not _TYPED & node.keys() or _NOT_STRICT & node.keys():
        return False
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        return False
    if node.get("type") == "array" and not _is_strict(node.get("items")):
        return False
    named = [inner for key in _NAMES for inner in cast("Json", node.get(key, {})).values()]
    return all(_is_strict(inner) for inner in [*named, *cast("list[object]", node.get("anyOf", []))])


def _root_types(node: object, wire: Json, depth: int) -> set[str]:
    """The types that the root may have; an empty one where any value fits."""
    if not isinstance(node, dict) or depth > len(wire):
        return {""}
    reference = node.get("$ref")
    if isinstance(reference, str):
        definitions = cast("Json", wire.get("$defs", {}))
        return _root_types(definitions.get(reference.removeprefix("#/$defs/")), wire, depth + 1)
    options = node.get("anyOf")
    if isinstance(options, list):
        return {kind for option in options for kind in _root_types(option, wire, depth + 1)}
    if "enum" in node or "const" in node:
        return {"scalar"}
    return {str(node.get("type", ""))}
