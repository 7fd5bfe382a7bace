"""wire_schema.py, annotations.py: which JSON schemas are rewritten for strict mode, and which are sent without it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, HttpUrl, RootModel, create_model
from typing_extensions import TypeAliasType

from extractors.core.annotations import expand_alias, find_models
from extractors.core.wire_schema import drop_unsupported, has_scalar_root, is_strict, to_wire


class Address(BaseModel):
    """Where a person lives."""

    street: str


class Letter(BaseModel):
    """A letter between two people."""

    sender: Address = Field(description="Who sends it")
    receiver: Address = Field(description="Who gets it")


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """A dog."""

    kind: Literal["dog"]


class Owner(BaseModel):
    """A pet's owner."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]


class Node(BaseModel):
    """A tree."""

    name: str
    children: list[Node] = Field([], description="below it")


def list_nodes(schema):
    """Every object in a JSON schema: a schema itself or data in one."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [*([schema] if isinstance(schema, dict) else []), *(node for child in inner for node in list_nodes(child))]


def build_wire(annotation):
    """The wire schema of a model with one field of this type."""
    return to_wire(create_model("Some", value=(annotation, ...)).model_json_schema())


@pytest.mark.parametrize("model", [Letter, Owner, Node])
def test_to_wire_rewrites_a_model_for_strict_mode(model):
    """References stand alone, alternatives are `anyOf`, and the root is an object."""
    wire = to_wire(model.model_json_schema())
    assert is_strict(wire)
    assert wire["type"] == "object"
    assert not [node for node in list_nodes(wire) if "$ref" in node and len(node) > 1]
    assert not [node for node in list_nodes(wire) if node.keys() & {"oneOf", "discriminator"}]


def test_to_wire_keeps_the_description_beside_a_reference():
    """It is part of the prompt."""
    wire = to_wire(Letter.model_json_schema())
    assert wire["properties"]["sender"] == {"description": "Who sends it", "anyOf": [{"$ref": "#/$defs/Address"}]}


def test_to_wire_inlines_a_recursive_root():
    """Its own references still resolve to the definition."""
    wire = to_wire(Node.model_json_schema())
    assert list(wire["properties"]) == ["name", "children"]
    assert wire["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert "Node" in wire["$defs"]


def test_to_wire_removes_unique_items():
    """A set is sent as an array; the model removes duplicates."""
    wire = build_wire(set[str])
    assert wire["properties"]["value"] == {"type": "array", "items": {"type": "string"}}
    assert is_strict(wire)


def test_to_wire_removes_formats_unknown_to_strict_mode():
    """A date keeps its format; a URL becomes text."""
    assert build_wire(dt.date)["properties"]["value"]["format"] == "date"
    assert "format" not in build_wire(HttpUrl)["properties"]["value"]


@pytest.mark.parametrize("annotation", [dict[str, int], dict[str, Any], Any, tuple[int, str], list, list[Any], dict])
def test_unsupported_types_are_not_strict(annotation):
    """They are mappings, tuples and values without a type."""
    assert not is_strict(build_wire(annotation))


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int | None,
        Decimal,
        list[Address],
        Address | None,
        Literal["a", "b"],
        Literal[1],
        Cat | Dog,
        list[list[int]],
    ],
)
def test_ordinary_types_are_strict(annotation):
    assert is_strict(build_wire(annotation))


def test_nested_dict_is_not_strict():
    """Strict mode refuses a whole schema for one field."""
    inner = create_model("Inner", amounts=(dict[str, int], ...))
    assert not is_strict(build_wire(list[inner] | None))


@pytest.mark.parametrize("name", ["oneOf", "uniqueItems", "discriminator", "format", "enum", "anyOf", "$ref"])
def test_to_wire_keeps_a_field_named_like_a_keyword(name):
    model = create_model("Some", value=(str, Field(alias=name)))
    wire = to_wire(model.model_json_schema())
    assert wire["properties"] == {name: {"type": "string"}}
    assert is_strict(wire)


@pytest.mark.parametrize("root", [str, int, dt.date, Literal["a"], bool | None, Decimal])
def test_has_scalar_root_is_true_for_single_values(root):
    assert has_scalar_root(to_wire(RootModel[root].model_json_schema()))


@pytest.mark.parametrize("root", [list[str], dict[str, int], Address, Cat | Dog, Address | None, Any])
def test_has_scalar_root_is_false_for_objects_and_lists(root):
    assert not has_scalar_root(to_wire(RootModel[root].model_json_schema()))


def test_list_at_the_root_is_not_strict():
    """Strict mode requires an object there."""
    assert not is_strict(to_wire(RootModel[list[Address]].model_json_schema()))


def test_expand_alias_resolves_nested_aliases():
    money = TypeAliasType("money", Decimal)
    assert expand_alias(TypeAliasType("price", money)) is Decimal
    assert expand_alias(str) is str


def test_find_models_returns_nested_models_once():
    """It follows lists, unions, aliases and recursive fields."""
    alias = TypeAliasType("alias", list[Address])
    model = create_model("Some", a=(alias, ...), b=(dict[str, Cat | None], ...), c=(Node, ...))
    assert set(find_models(model)) == {model, Address, Cat, Node}


def test_drop_unsupported_removes_keywords_unknown_to_strict_mode():
    """Lengths and examples are only in the prompt; a field of such a name stays."""
    model = create_model("Some", value=(str, Field(alias="maxLength", max_length=3, examples=["a"])))
    wire = to_wire(model.model_json_schema())
    assert is_strict(wire)
    assert drop_unsupported(wire)["properties"] == {"maxLength": {"type": "string"}}
    assert wire["properties"] == {"maxLength": {"type": "string", "maxLength": 3, "examples": ["a"]}}
