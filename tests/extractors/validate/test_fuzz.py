"""validate: 200,000 damaged answers to all shipped schemas and ten other models give no wrong row and no exception."""

import json
import random
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel

from extractors.core import Reply
from extractors.core.schema import list_shipped, load
from extractors.validate import validate

ROUNDS = 200_000
WORDS = [
    "ACME",
    "bolts",
    "Füße",
    'a "quoted" word',
    "{x}",
    "[1]",
    "</think>",
    "<think>",
    "```",
    "日本",
    "a\\b",
    "",
    "}",
    "]",
]


class Line(BaseModel):
    """A line of a bill: all its fields are optional, like those of the bill."""

    name: str | None = None
    total: float | None = None


class Bill(BaseModel):
    """A document whose lines have fields of the document's names."""

    name: str | None = None
    total: float | None = None
    lines: list[Line] = []


class Node(BaseModel):
    """A recursive document."""

    name: str | None = None
    children: list["Node"] = []


class Wrapped(BaseModel):
    """A document that contains another document."""

    total: float | None = None
    inner: Bill | None = None


class Open(BaseModel):
    """A document that accepts any field."""

    model_config = ConfigDict(extra="allow")


class Amounts(BaseModel):
    """A document with arbitrary keys."""

    amounts: dict[str, float | str | None] = {}
    notes: dict[str, Any] = {}


class Lines(RootModel[list[Line]]):
    """A list at the root."""


class Free(RootModel[dict[str, Any]]):
    """An object with arbitrary keys at the root."""


class Cat(BaseModel):
    """One member of a union."""

    kind: Literal["cat"] = "cat"
    name: str | None = None


class Dog(BaseModel):
    """The other member of a union."""

    kind: Literal["dog"] = "dog"
    friend: Cat | None = None


class Pet(RootModel[Annotated[Cat | Dog, Field(discriminator="kind")]]):
    """A union at the root."""


class Money(BaseModel):
    """A document with decimals."""

    net: Decimal | None = None
    parts: list[Decimal] = []
    payee: Line | None = None


MODELS = (Bill, Node, Wrapped, Open, Amounts, Lines, Free, Pet, Money, Dog)
SAMPLES = {
    "caption": {"caption": "A wall", "alt_text": None, "tags": ["a", "b"]},
    "receipt": {"company": "ACME", "date": "2026-01-02", "address": "1 Road", "total": "12.50", "currency": "EUR",
                "line_items": [{"description": "x", "quantity": "1", "unit_price": "1", "amount": "1"}]},
}  # fmt: skip


def make_text(dice):
    """A text such as a model may write."""
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(4)))


def make_number(dice):
    """An integer, a float or None."""
    return dice.choice([None, dice.randrange(100), round(dice.random() * 100, 2)])


def make_line(dice):
    """A line of a bill."""
    return {"name": make_text(dice), "total": make_number(dice)}


def make_bill(dice):
    """A bill."""
    return make_line(dice) | {"lines": [make_line(dice) for _ in range(dice.randrange(4))]}


def make_node(dice, depth=3):
    """A tree."""
    return {
        "name": make_text(dice),
        "children": [make_node(dice, depth - 1) for _ in range(dice.randrange(3) if depth else 0)],
    }


BUILDERS = {
    Bill: make_bill,
    Node: make_node,
    Wrapped: lambda dice: {"total": make_number(dice), "inner": make_bill(dice)},
    Open: lambda dice: {"a": make_bill(dice), make_text(dice): [make_line(dice)], "z": make_text(dice)},
    Amounts: lambda dice: {
        "amounts": {make_text(dice): make_number(dice), "b": make_text(dice)},
        "notes": {"n": make_bill(dice)},
    },
    Lines: lambda dice: [make_line(dice) for _ in range(1 + dice.randrange(3))],
    Free: lambda dice: {make_text(dice): make_bill(dice), "x": {"y": make_line(dice)}},
    Pet: lambda dice: {"kind": "dog", "friend": {"kind": "cat", "name": make_text(dice)}},
    Money: lambda dice: {"net": make_number(dice), "parts": [1, 2.5], "payee": make_line(dice)},
    Dog: lambda dice: {"kind": "dog", "friend": {"kind": "cat", "name": make_text(dice)}},
}


def make_example(wire, root, dice):
    """A value of the form that a JSON schema describes, as far as it is read here."""
    if "$ref" in wire:
        return make_example(root["$defs"][wire["$ref"].rpartition("/")[2]], root, dice)
    if "anyOf" in wire:
        return make_example(dice.choice(wire["anyOf"]), root, dice)
    if "enum" in wire:
        return dice.choice(wire["enum"])
    match wire.get("type"):
        case "object":
            return {name: make_example(child, root, dice) for name, child in wire.get("properties", {}).items()}
        case "array":
            return [make_example(wire.get("items", {}), root, dice) for _ in range(dice.randrange(3))]
        case "integer" | "number":
            return dice.randrange(100)
        case "null":
            return None
    return dice.random() < 0.5 if wire.get("type") == "boolean" else make_text(dice)


def truncate(text, dice):
    """The text truncated before its end."""
    return text[: dice.randrange(len(text))]


def drop_bracket(text, dice):
    """The text without one of its brackets."""
    places = [index for index, sign in enumerate(text) if sign in "{}[]"]
    place = dice.choice(places)
    return text[:place] + text[place + 1 :]


def insert_sign(text, dice):
    """The text with an additional sign."""
    place = dice.randrange(len(text))
    return text[:place] + dice.choice('{}[]",:') + text[place:]


def repeat_part(text, dice):
    """The text with a part repeated, as after a lost connection."""
    start = dice.randrange(len(text))
    end = dice.randrange(start, len(text))
    return text[:end] + text[start:]


DAMAGES = (truncate, truncate, truncate, drop_bracket, insert_sign, repeat_part)


def list_builders(dice):
    """Every model with a function that builds its documents."""
    shipped_schemas = [load(name) for name in list_shipped()]
    builders = [
        (schema.model, lambda dice, wire=schema.wire: make_example(wire, wire, dice)) for schema in shipped_schemas
    ]
    return builders + [(model, BUILDERS[model]) for model in MODELS]


def parse_whole(text, model):
    """The document of the whole text without unmatched closing brackets, or None."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
        return None if text[end:].strip("]} \n") else model.model_validate_json(json.dumps(value))
    except ValueError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 4))])
def test_damaged_answers_give_no_wrong_row(seed):
    """An accepted document is the original one, or the whole of the damaged text."""
    dice = random.Random(seed)
    choices, wrong = list_builders(dice), []
    for _ in range(ROUNDS // 4):
        model, make = dice.choice(choices)
        whole = json.dumps(make(dice), ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, 2]))
        damage = dice.choice(DAMAGES)
        text = dice.choice(["", "", "Here it is:\n", "```json\n", "<think>no {</think>"]) + damage(whole, dice)
        finish = dice.choice(["stop", "length", None])
        document = validate(Reply(200, "", content=text, finish_reason=finish), model).document
        if document is None:
            continue
        body = text.removeprefix("Here it is:\n").removeprefix("```json\n").removeprefix("<think>no {</think>")
        if document not in (parse_whole(whole, model), parse_whole(body, model)):
            wrong.append((model.__name__, damage.__name__, whole, text))
    assert wrong == []
