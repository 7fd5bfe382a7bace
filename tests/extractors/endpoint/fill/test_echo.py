"""Echo: the smallest instance of a schema, against the validators of pydantic and of JSON Schema's own words."""

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
    """A choice."""

    SMALL = "small"
    LARGE = "large"


class Item(BaseModel):
    """Holds itself, in a list."""

    name: str
    amount: Decimal
    parts: list["Item"] = []


class Everything(BaseModel):
    """A field of every sort."""

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


def test_instance_of_a_model_validates():
    """Types, formats, bounds, enums, references and least counts are kept."""
    made = Everything.model_validate(build_instance(Everything.model_json_schema()))
    assert (made.kind, made.size, len(made.items)) == ("thing", Size.SMALL, 2)


def test_what_may_be_null_is_filled():
    """Validators that refuse an empty document are content."""
    made = build_instance(Everything.model_json_schema())
    assert (made["day"], made["price"]) == ("2000-01-01", 1)


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
def test_simple_schemas(schema, expected):
    """One schema, one smallest value."""
    assert build_instance(schema) == expected


def test_a_schema_that_holds_itself_ends():
    """Recursion is cut where it would begin again: at null where that is allowed."""
    node = {
        "type": "object",
        "properties": {
            "must": {"$ref": "#/$defs/N"},
            "may": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]},
            "many": {"type": "array", "items": {"$ref": "#/$defs/N"}, "minItems": 2},
        },
    }
    assert build_instance({"$ref": "#/$defs/N", "$defs": {"N": node}}) == {"must": {}, "may": None, "many": []}


def test_list_of_rows_with_numbers_has_one_row_which_adds_up():
    """Of the shipped invoice, whose rows must add up to its subtotal; lists of other objects stay empty."""
    invoice, comparison = load("invoice"), load("comparison")
    made = build_instance(invoice.wire)
    assert ([row["amount"] for row in made["line_items"]], made["subtotal"]) == ([1], 1)
    assert find_sum_errors(invoice.model.model_validate(made), invoice.row_sums) == []
    assert build_instance(comparison.wire)["differences"] == []
