"""echo.py: the smallest instance of a schema passes pydantic's validators and keeps JSON Schema's constraints."""

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from extractors.core.schema import load
from extractors.endpoint.fill.echo import build_instance
from extractors.validate.row_sums import find_sum_errors


class Size(Enum):
    """An enumeration."""

    SMALL = "small"
    LARGE = "large"


class Item(BaseModel):
    """A model that refers to itself in a list."""

    name: str
    amount: Decimal
    parts: list["Item"] = []


class Everything(BaseModel):
    """One field of each supported type."""

    kind: Literal["thing"]
    size: Size
    day: date | None
    price: Decimal | None
    count: Annotated[int, Field(ge=5, le=9)]
    share: Annotated[float, Field(gt=0, lt=1)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    short: Annotated[str, Field(max_length=2)]
    long: Annotated[str, Field(min_length=10)]
    items: Annotated[list[Item], Field(min_length=2)]
    pair: tuple[int, str]
    seen: bool


def test_instance_of_a_model_passes_its_validators():
    """The instance keeps types, formats, bounds, enums, references and minimum lengths."""
    instance = Everything.model_validate(build_instance(Everything.model_json_schema()))
    assert (instance.kind, instance.size, len(instance.items)) == ("thing", Size.SMALL, 2)


def test_instance_fills_nullable_fields():
    """Validators that refuse an empty document accept the instance."""
    instance = build_instance(Everything.model_json_schema())
    assert (instance["day"], instance["price"]) == ("2000-01-01", 1)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "echo"),
        ({"type": ["null", "integer"]}, 1),
        ({"enum": [None, "a"]}, "a"),
        ({"const": 4}, 4),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, False),
        ({"type": "array", "items": {"type": "string"}}, []),
        ({"type": "number", "exclusiveMinimum": 10}, 11),
        ({"type": "integer", "multipleOf": 5}, 5),
        ({"type": "null"}, None),
        ({}, "echo"),
    ],
)
def test_instance_is_the_smallest_value_of_its_schema(schema, expected):
    assert build_instance(schema) == expected


def test_instance_of_a_recursive_schema_is_finite():
    """Recursion stops at its first repetition: with null where the schema allows it."""
    node = {
        "type": "object",
        "properties": {
            "must": {"$ref": "#/$defs/N"},
            "may": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]},
            "many": {"type": "array", "items": {"$ref": "#/$defs/N"}, "minItems": 2},
        },
    }
    assert build_instance({"$ref": "#/$defs/N", "$defs": {"N": node}}) == {"must": {}, "may": None, "many": []}


def test_instance_has_one_row_that_adds_up_to_the_subtotal():
    """The shipped invoice requires rows that add up to its subtotal; lists of other objects stay empty."""
    invoice, comparison = load("invoice"), load("comparison")
    instance = build_instance(invoice.wire)
    assert ([row["amount"] for row in instance["line_items"]], instance["subtotal"]) == ([1], 1)
    assert find_sum_errors(invoice.model.model_validate(instance), invoice.row_sums) == []
    assert build_instance(comparison.wire)["differences"] == []
