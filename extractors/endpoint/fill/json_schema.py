"""Read JSON schemas: follow references, and treat all forms of "or null" alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]  # its values have any type

_HOPS = 16  # a reference to a reference to itself ends here


def resolve_references(node: Schema, root: Schema) -> Schema:
    """The node that a `$ref` points at; what stands beside the `$ref` (a description) wins."""
    for _ in range(_HOPS):
        if not isinstance(node, dict):  # `true` and `false` are schemas too
            return {}
        if "$ref" not in node:
            return node
        beside = {key: value for key, value in node.items() if key != "$ref"}
        node = {**_follow_pointer(str(node["$ref"]), root), **beside}
    return {}


def list_branches(node: Schema, root: Schema) -> list[Schema]:
    """The alternatives of `anyOf`, `oneOf` or a lone `allOf`, each resolved; none when there is only one way."""
    found = node.get("anyOf") or node.get("oneOf") or node.get("allOf") or []
    return [resolve_references(each, root) for each in found]


def _follow_pointer(pointer: str, root: Schema) -> Schema:
    target: Any = root
    for step in pointer.removeprefix("#").strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        target = target.get(name, {}) if isinstance(target, dict) and name else target
    return target if isinstance(target, dict) else {}


@dataclass(frozen=True, slots=True)
class Field:
    """One place of a document to fill: its name and description, its possible kinds of value, and if it may be null."""

    name: str
    description: str
    ways: tuple[Schema, ...]  # without null; usually one
    nullable: bool
    root: Schema

    def branch_of(self, *kinds: str) -> Schema | None:
        """The first of the field's alternatives that has one of these types."""
        return next((each for each in self.ways if type_of(each) in kinds), None)

    @property
    def choices(self) -> tuple[Any, ...]:
        """The members of its enum or const, without null."""
        for way in self.ways:
            members = way["enum"] if "enum" in way else [way["const"]] if "const" in way else []
            if members:
                return tuple(each for each in members if each is not None)
        return ()

    @property
    def just_text(self) -> bool:
        """Whether any text would do: no format, no choices, and no number that may also come as text."""
        return (
            bool(self.ways)
            and all(type_of(way) == "string" and "format" not in way for way in self.ways)
            and not self.choices
        )

    @property
    def format(self) -> str:
        """The format of its string, if it has one."""
        return next((str(way["format"]) for way in self.ways if "format" in way), "")

    def fields(self) -> list[Field]:
        """The properties of an object."""
        way = self.branch_of("object") or {}
        return [build_field(name, each, self.root) for name, each in way.get("properties", {}).items()]

    def item(self) -> Field:
        """What an array holds."""
        way = self.branch_of("array") or {}
        return build_field(self.name, way.get("items") or {}, self.root)

    @property
    def required(self) -> frozenset[str]:
        """The properties that an object must have."""
        return frozenset((self.branch_of("object") or {}).get("required", ()))


def build_field(name: str, node: Schema, root: Schema) -> Field:
    """Read one property of a schema."""
    node = resolve_references(node, root)
    ways = list_branches(node, root) or [node]
    flat = [inner for way in ways for inner in (list_branches(way, root) or [way])]
    kinds = [way.get("type") for way in flat]
    solid = tuple(way for way in flat if way.get("type") != "null")
    return Field(
        name=name,
        description=str(node.get("description") or next((w["description"] for w in solid if "description" in w), "")),
        ways=solid,
        nullable="null" in kinds or any(isinstance(each, list) and "null" in each for each in kinds),
        root=root,
    )


def type_of(node: Schema) -> str:
    """The type of one alternative, guessed where the schema leaves it out."""
    given = node.get("type")
    if isinstance(given, list):
        given = next((each for each in given if each != "null"), None)
    if given:
        return str(given)
    if "properties" in node:
        return "object"
    return "array" if "items" in node else "string"
