"""fill.py and `extractors.endpoint.fill.json_schema`: schemas as pydantic writes them, over words written by hand.

Covers `extractors.endpoint.fill.finders`, `extractors.endpoint.fill.kinds`, `extractors.endpoint.fill.records` and
`extractors.endpoint.fill.json_schema`, too.
"""

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from extractors.endpoint.fill.fill import fill_schema
from extractors.endpoint.ocr.words import Document, Word, group_lines


def pages(*texts):
    return Document(tuple(page(each) for each in texts))


def page(texts):
    words = []
    for row, text in enumerate(texts):
        for column, part in enumerate(text.split("|")):
            said, left = part.strip(), 400 * column
            if said:
                words.append(Word(said, left, row * 50, left + 10 * len(said), row * 50 + 20))
    return group_lines(words)


RECEIPT = (
    "GREEN LEAF TRADING SDN BHD",
    "NO 5, JALAN BESAR,",
    "47100 PUCHONG",
    "Tel: 03-8060 4233",
    "Receipt No: CS-0042 | Date: 05/03/2024",
    "Item | Qty | Price | Amount",
    "Rye bread | 2 | 4.00 | 8.00",
    "TOTAL (RM) | 8.00",
    "CASH | 10.00",
    "CHANGE | 2.00",
)


class Item(BaseModel):
    """One line."""

    description: str
    quantity: Decimal | None
    unit_price: Decimal | None
    amount: Decimal | None


class Receipt(BaseModel):
    """A till receipt."""

    company: str | None = Field(description="The shop's or company's name as printed, usually at the top")
    date: date | None
    address: str | None
    total: Decimal | None = Field(description="The amount to pay, taxes and rounding included")
    currency: str | None = Field(description="ISO 4217 code")
    line_items: list[Item]


def read(model, *texts):
    return model.model_validate(fill_schema(model.model_json_schema(), pages(*texts)))


def test_a_receipt_is_filled():
    """Every field of the schema has its value, and the types are the schema's."""
    assert read(Receipt, RECEIPT) == Receipt(
        company="GREEN LEAF TRADING SDN BHD",
        date=date(2024, 3, 5),
        address="NO 5, JALAN BESAR, 47100 PUCHONG",
        total=Decimal(8),
        currency="MYR",
        line_items=[Item(description="Rye bread", quantity=2, unit_price=4, amount=8)],
    )


def test_nothing_read_is_null_and_empty():
    """A blank picture gives a document without a single value."""
    assert fill_schema(Receipt.model_json_schema(), pages(())) == {
        "company": None,
        "date": None,
        "address": None,
        "total": None,
        "currency": None,
        "line_items": [],
    }


class Strict(BaseModel):
    """Nothing may be null."""

    total: Decimal
    issued: date
    cashier: str
    tags: list[str]
    paid: bool


def test_what_may_not_be_null_and_was_not_read_is_left_out():
    """Texts and lists are empty; a number, a date or a truth would be an invention, and so fails validation."""
    assert fill_schema(Strict.model_json_schema(), pages(())) == {"cashier": "", "tags": []}
    with pytest.raises(ValidationError, match="total"):
        read(Strict, ())


def test_names_decide_when_their_words_differ():
    """Synonyms, camel case, and the parent's name where the own one says nothing."""

    class Party(BaseModel):
        name: str | None

    class Paper(BaseModel):
        merchantName: str  # noqa: N815  the case that is tested
        receipt_number: str | None
        issue_date: str
        amount_due: float
        customer: Party | None
        phone: str | None

    made = read(Paper, ("Customer: Ada Lovelace", *RECEIPT))
    assert made.model_dump(exclude={"merchantName"}) == {
        "receipt_number": "CS-0042",
        "issue_date": "2024-03-05",
        "amount_due": 8.0,
        "customer": {"name": "Ada Lovelace"},
        "phone": "03-8060 4233",
    }
    assert read(Paper, RECEIPT).merchantName == "GREEN LEAF TRADING SDN BHD"


@pytest.mark.parametrize(
    "name",
    [
        "total_pages",
        "tax_rate",
        "store_hours",
        "expiry_date",
        "total_items",
        "company_id",
        "delivery_address",
        "date_of_birth",
    ],
)
def test_a_field_that_only_sounds_alike_is_not_filled(name):
    """A count is no amount, an hour is no name."""
    schema = {"type": "object", "properties": {name: {"type": ["string", "number", "null"]}}}
    assert fill_schema(schema, pages(RECEIPT)) == {name: None}


def test_other_fields_are_found_by_their_label():
    """A name that no finder knows is looked for among the words."""

    class Ticket(BaseModel):
        gate: str | None
        seat: str | None
        bags: int | None
        fragile: bool | None
        valid_until: date | None

    made = read(Ticket, ("Gate: B12", "Seat | 14C", "Bags: 3", "Fragile: yes", "Valid until: 01/02/2025"))
    assert made == Ticket(gate="B12", seat="14C", bags=3, fragile=True, valid_until=date(2025, 2, 1))


class Mood(Enum):
    """A choice with a way out."""

    calm = "calm"
    busy = "busy"
    unknown = "unknown"


def test_a_choice_is_one_that_was_read_or_one_that_claims_nothing():
    """Else it is null, else left out."""

    class Choices(BaseModel):
        mood: Mood
        version: Literal[3]
        size: Literal["small", "large"] | None

    assert fill_schema(Choices.model_json_schema(), pages(("so BUSY here",))) == {
        "mood": "busy",
        "version": 3,
        "size": None,
    }
    assert fill_schema(Choices.model_json_schema(), pages(())) == {"mood": "unknown", "version": 3, "size": None}
    schema = {"type": "object", "properties": {"size": {"enum": ["small", "large"]}}}
    assert fill_schema(schema, pages(())) == {}


def test_currency_as_a_choice_is_only_one_of_them():
    """A currency that the schema does not know is not forced into it."""
    schema = {"type": "object", "properties": {"currency": {"anyOf": [{"enum": ["EUR", "USD"]}, {"type": "null"}]}}}
    assert fill_schema(schema, pages(("TOTAL | 5,00 €",))) == {"currency": "EUR"}
    assert fill_schema(schema, pages(("TOTAL | RM 5.00",))) == {"currency": None}


def test_a_table_has_its_header_and_rows():
    """Lists of lists are filled by columns."""

    class Table(BaseModel):
        title: str | None
        columns: list[str]
        rows: list[list[str]]

    made = read(Table, ("Towns", "Name | People", "Graz | 291", "Turku | 197"))
    assert made == Table(title="Towns", columns=["Name", "People"], rows=[["Graz", "291"], ["Turku", "197"]])


def test_two_pictures_are_compared_by_their_lines():
    """What both say is shared; what one says is its own."""

    class Comparison(BaseModel):
        similarities: list[str]
        differences: list[str]
        summary: str

    made = read(Comparison, ("Acme", "Sign in"), ("Acme", "Sign out"))
    assert made.similarities == ["Acme"]
    assert made.differences == ["only picture 1: Sign in", "only picture 2: Sign out"]
    assert made.summary == '2 pictures with the words "Acme / Sign in / Acme / Sign out".'


class Difference(BaseModel):
    """What is not the same everywhere."""

    aspect: str
    in_each: list[str]


class Compared(BaseModel):
    """Several pictures, one beside the other."""

    images: list[str]
    differences: list[Difference]


def test_a_difference_tells_what_was_read_in_every_picture():
    """One object a line that some picture lacks, once, in the order of the pictures."""
    made = read(Compared, ("Acme", "Sign in", "Help"), ("Acme", "Sign out", "Help"), ("Acme", "Sign out"))
    none = "not read in this picture"
    assert [(each.aspect, each.in_each) for each in made.differences] == [
        ("Sign in", ["Sign in", none, none]),
        ("Help", ["Help", "Help", none]),
        ("Sign out", [none, "Sign out", "Sign out"]),
    ]


def test_a_line_that_differs_in_its_marks_only_is_the_same_line():
    """It is called as it was read first, and told as it was read in each."""
    (only,) = read(Compared, ("Help!",), ("Help",), ()).differences
    assert (only.aspect, only.in_each) == ("Help!", ["Help!", "Help", "not read in this picture"])


def test_every_picture_is_told_for_itself():
    """One sentence a picture, also of one without words."""
    made = read(Compared, ("Acme", "Help"), ())
    assert made.images == ['A picture with the words "Acme / Help".', "A picture without readable words."]


def test_one_picture_differs_from_nothing():
    """A list of changes is then like any other."""
    assert read(Compared, ("Acme",)).images == ['A picture with the words "Acme".']

    class Change(BaseModel):
        description: str
        amount: float

    class Bill(BaseModel):
        changes: list[Change]

    assert read(Bill, RECEIPT).changes == [Change(description="Rye bread", amount=8)]


def test_parts_of_a_screen_are_the_texts_on_it():
    """One object a text; its kind claims nothing; a list that holds itself ends."""

    class Part(BaseModel):
        kind: Literal["button", "image", "other"]
        label: str
        note: str | None
        parts: list["Part"] = []

    class Screen(BaseModel):
        project_name: str
        goal: str
        parts: list[Part]

    made = fill_schema(Screen.model_json_schema(), pages(("Acme Dashboard", "Home | Reports")))
    assert made["project_name"] == "Acme Dashboard"
    assert made["goal"] == 'A picture with the words "Acme Dashboard / Home Reports".'
    assert [part["label"] for part in made["parts"]] == ["Acme Dashboard", "Home", "Reports"]
    assert made["parts"][0] == {"kind": "other", "label": "Acme Dashboard", "note": None, "parts": []}


def test_a_picture_without_words_is_called_that():
    """A caption is still a sentence, and a true one."""
    schema = {
        "type": "object",
        "properties": {"caption": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    }
    assert fill_schema(schema, pages(())) == {"caption": "A picture without readable words.", "tags": []}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {"a": True}},
        {"type": "array", "items": {"type": "string"}},
        {"$ref": "#/$defs/gone"},
    ],
)
def test_odd_schemas_are_filled_without_an_error(schema):
    """Whatever the request calls a schema has an answer."""
    fill_schema(schema, pages(RECEIPT))
