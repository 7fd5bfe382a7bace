"""validate: 200,000 cut and mangled answers over all shipped schemas and ten of users give no wrong row and no exception."""

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
    """A line of a bill: everything in it is optional, as in the bill."""

    name: str | None = None
    total: float | None = None


class Bill(BaseModel):
    """A document whose lines look like the document."""

    name: str | None = None
    total: float | None = None
    lines: list[Line] = []


class Node(BaseModel):
    """A recursive document."""

    name: str | None = None
    children: list["Node"] = []


class Wrapped(BaseModel):
    """A document with one of its own kind inside."""

    total: float | None = None
    inner: Bill | None = None


class Open(BaseModel):
    """A document that takes any field."""

    model_config = ConfigDict(extra="allow")


class Amounts(BaseModel):
    """A document of free names."""

    amounts: dict[str, float | str | None] = {}
    notes: dict[str, Any] = {}


class Lines(RootModel[list[Line]]):
    """A list at the root."""


class Free(RootModel[dict[str, Any]]):
    """A free object at the root."""


class Cat(BaseModel):
    """One of a union."""

    kind: Literal["cat"] = "cat"
    name: str | None = None


class Dog(BaseModel):
    """The other of a union."""

    kind: Literal["dog"] = "dog"
    friend: Cat | None = None


class Pet(RootModel[Annotated[Cat | Dog, Field(discriminator="kind")]]):
    """A union at the root."""


class Money(BaseModel):
    """A document of decimals."""

    net: Decimal | None = None
    parts: list[Decimal] = []
    payee: Line | None = None


USERS = (Bill, Node, Wrapped, Open, Amounts, Lines, Free, Pet, Money, Dog)
SAMPLES = {
    "caption": {"caption": "A wall", "alt_text": None, "tags": ["a", "b"]},
    "receipt": {"company": "ACME", "date": "2026-01-02", "address": "1 Road", "total": "12.50", "currency": "EUR",
                "line_items": [{"description": "x", "quantity": "1", "unit_price": "1", "amount": "1"}]},
}  # fmt: skip


def word(dice):
    """A text as a model may write it."""
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(4)))


def number(dice):
    """A number of either kind, or none."""
    return dice.choice([None, dice.randrange(100), round(dice.random() * 100, 2)])


def line(dice):
    """A line of a bill."""
    return {"name": word(dice), "total": number(dice)}


def bill(dice):
    """A bill."""
    return line(dice) | {"lines": [line(dice) for _ in range(dice.randrange(4))]}


def node(dice, depth=3):
    """A tree."""
    return {"name": word(dice), "children": [node(dice, depth - 1) for _ in range(dice.randrange(3) if depth else 0)]}


MAKE = {
    Bill: bill,
    Node: node,
    Wrapped: lambda dice: {"total": number(dice), "inner": bill(dice)},
    Open: lambda dice: {"a": bill(dice), word(dice): [line(dice)], "z": word(dice)},
    Amounts: lambda dice: {"amounts": {word(dice): number(dice), "b": word(dice)}, "notes": {"n": bill(dice)}},
    Lines: lambda dice: [line(dice) for _ in range(1 + dice.randrange(3))],
    Free: lambda dice: {word(dice): bill(dice), "x": {"y": line(dice)}},
    Pet: lambda dice: {"kind": "dog", "friend": {"kind": "cat", "name": word(dice)}},
    Money: lambda dice: {"net": number(dice), "parts": [1, 2.5], "payee": line(dice)},
    Dog: lambda dice: {"kind": "dog", "friend": {"kind": "cat", "name": word(dice)}},
}


def example(wire, root, dice):
    """A value that fits a JSON schema's shape, as far as that goes."""
    if "$ref" in wire:
        return example(root["$defs"][wire["$ref"].rpartition("/")[2]], root, dice)
    if "anyOf" in wire:
        return example(dice.choice(wire["anyOf"]), root, dice)
    if "enum" in wire:
        return dice.choice(wire["enum"])
    match wire.get("type"):
        case "object":
            return {name: example(each, root, dice) for name, each in wire.get("properties", {}).items()}
        case "array":
            return [example(wire.get("items", {}), root, dice) for _ in range(dice.randrange(3))]
        case "integer" | "number":
            return dice.randrange(100)
        case "null":
            return None
    return dice.random() < 0.5 if wire.get("type") == "boolean" else word(dice)


def cut(text, dice):
    """The text, cut before its last closing bracket."""
    return text[: dice.randrange(len(text))]


def drop_bracket(text, dice):
    """The text without one of its brackets."""
    places = [index for index, sign in enumerate(text) if sign in "{}[]"]
    place = dice.choice(places)
    return text[:place] + text[place + 1 :]


def add_sign(text, dice):
    """The text with a sign more."""
    place = dice.randrange(len(text))
    return text[:place] + dice.choice('{}[]",:') + text[place:]


def double_part(text, dice):
    """The text with a part of it twice, as after a lost connection."""
    start = dice.randrange(len(text))
    end = dice.randrange(start, len(text))
    return text[:end] + text[start:]


MANGLES = (cut, cut, cut, drop_bracket, add_sign, double_part)


def models(dice):
    """Every schema with a maker of documents."""
    shipped_schemas = [load(name) for name in list_shipped()]
    made = [(each.model, lambda dice, wire=each.wire: example(wire, wire, dice)) for each in shipped_schemas]
    return made + [(model, MAKE[model]) for model in USERS]


def as_meant(text, model):
    """The document of the text taken as a whole, but for brackets that close nothing; None where it is none."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
        return None if text[end:].strip("]} \n") else model.model_validate_json(json.dumps(value))
    except ValueError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 4))])
def test_cut_and_mangled_answers_give_no_wrong_row(seed):
    """What is accepted is the document that was written, or the whole of what the text is now."""
    dice = random.Random(seed)
    choices, wrong = models(dice), []
    for _ in range(ROUNDS // 4):
        model, make = dice.choice(choices)
        whole = json.dumps(make(dice), ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, 2]))
        mangle = dice.choice(MANGLES)
        text = dice.choice(["", "", "Here it is:\n", "```json\n", "<think>no {</think>"]) + mangle(whole, dice)
        finish = dice.choice(["stop", "length", None])
        document = validate(Reply(200, "", content=text, finish_reason=finish), model).document
        if document is None:
            continue
        body = text.removeprefix("Here it is:\n").removeprefix("```json\n").removeprefix("<think>no {</think>")
        if document not in (as_meant(whole, model), as_meant(body, model)):
            wrong.append((model.__name__, mangle.__name__, whole, text))
    assert wrong == []
