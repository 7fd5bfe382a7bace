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


def nodes(schema):
    """Every object in a JSON schema that is a schema itself, or data in one."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [*([schema] if isinstance(schema, dict) else []), *(node for each in inner for node in nodes(each))]


def wire_of(annotation):
    """The wire schema of a model with one field of this type."""
    return to_wire(create_model("Some", value=(annotation, ...)).model_json_schema())


@pytest.mark.parametrize("model", [Letter, Owner, Node])
def test_strict_mode_takes_the_rewritten_schema(model):
    """References stand alone, alternatives are `anyOf`, and the root is an object."""
    wire = to_wire(model.model_json_schema())
    assert is_strict(wire)
    assert wire["type"] == "object"
    assert not [node for node in nodes(wire) if "$ref" in node and len(node) > 1]
    assert not [node for node in nodes(wire) if node.keys() & {"oneOf", "discriminator"}]


def test_the_description_beside_a_reference_is_kept():
    """It is part of the prompt."""
    wire = to_wire(Letter.model_json_schema())
    assert wire["properties"]["sender"] == {"description": "Who sends it", "anyOf": [{"$ref": "#/$defs/Address"}]}


def test_a_recursive_root_is_the_definition_itself():
    """Its own references still lead to the definition."""
    wire = to_wire(Node.model_json_schema())
    assert list(wire["properties"]) == ["name", "children"]
    assert wire["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert "Node" in wire["$defs"]


def test_unique_items_are_left_out():
    """A set is an array; the model removes what comes twice."""
    wire = wire_of(set[str])
    assert wire["properties"]["value"] == {"type": "array", "items": {"type": "string"}}
    assert is_strict(wire)


def test_formats_that_strict_mode_does_not_know_are_left_out():
    """A date stays one, a URL is text."""
    assert wire_of(dt.date)["properties"]["value"]["format"] == "date"
    assert "format" not in wire_of(HttpUrl)["properties"]["value"]


@pytest.mark.parametrize("annotation", [dict[str, int], dict[str, Any], Any, tuple[int, str], list, list[Any], dict])
def test_what_strict_mode_refuses_is_sent_without_it(annotation):
    """Keys without names, and values without a type."""
    assert not is_strict(wire_of(annotation))


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
    """Nothing in them has to be given up."""
    assert is_strict(wire_of(annotation))


def test_a_dict_deep_inside_is_found():
    """One field that strict mode refuses refuses the whole schema."""
    inner = create_model("Inner", amounts=(dict[str, int], ...))
    assert not is_strict(wire_of(list[inner] | None))


@pytest.mark.parametrize("name", ["oneOf", "uniqueItems", "discriminator", "format", "enum", "anyOf", "$ref"])
def test_a_field_named_like_a_keyword_survives(name):
    """Names of fields are not keywords."""
    model = create_model("Some", value=(str, Field(alias=name)))
    wire = to_wire(model.model_json_schema())
    assert wire["properties"] == {name: {"type": "string"}}
    assert is_strict(wire)


@pytest.mark.parametrize("root", [str, int, dt.date, Literal["a"], bool | None, Decimal])
def test_a_scalar_root_is_found(root):
    """No answer to it begins with a bracket."""
    assert has_scalar_root(to_wire(RootModel[root].model_json_schema()))


@pytest.mark.parametrize("root", [list[str], dict[str, int], Address, Cat | Dog, Address | None, Any])
def test_a_root_that_holds_a_value_is_no_scalar(root):
    """Objects and arrays are answers."""
    assert not has_scalar_root(to_wire(RootModel[root].model_json_schema()))


def test_a_list_at_the_root_is_not_strict():
    """Strict mode wants an object there."""
    assert not is_strict(to_wire(RootModel[list[Address]].model_json_schema()))


def test_an_alias_is_expanded():
    """Also an alias of an alias, and one with a parameter."""
    money = TypeAliasType("money", Decimal)
    assert expand_alias(TypeAliasType("price", money)) is Decimal
    assert expand_alias(str) is str


def test_all_models_of_a_model_are_found():
    """Behind lists, unions and aliases; a recursive one once."""
    alias = TypeAliasType("alias", list[Address])
    model = create_model("Some", a=(alias, ...), b=(dict[str, Cat | None], ...), c=(Node, ...))
    assert set(find_models(model)) == {model, Address, Cat, Node}


def test_what_strict_mode_does_not_know_is_not_sent():
    """Lengths and examples stand in the prompt alone; a field of such a name stays."""
    model = create_model("Some", value=(str, Field(alias="maxLength", max_length=3, examples=["a"])))
    wire = to_wire(model.model_json_schema())
    assert is_strict(wire)
    assert drop_unsupported(wire)["properties"] == {"maxLength": {"type": "string"}}
    assert wire["properties"] == {"maxLength": {"type": "string", "maxLength": 3, "examples": ["a"]}}
