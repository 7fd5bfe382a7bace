"""fill.py and `extractors.endpoint.fill.json_schema`: schemas as pydantic writes them, filled from handwritten pages of words.

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
from extractors.endpoint.ocr.words import OcrDocument, Word, group_lines


def pages(*texts):
    return OcrDocument(tuple(page(lines) for lines in texts))


def page(texts):
    words = []
    for row, text in enumerate(texts):
        for column, part in enumerate(text.split("|")):
            word, left = part.strip(), 400 * column
            if word:
                words.append(Word(word, left, row * 50, left + 10 * len(word), row * 50 + 20))
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
    """One line item."""

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


def test_fill_gives_every_field_of_a_receipt_its_value():
    """Each value has the type of its field."""
    assert read(Receipt, RECEIPT) == Receipt(
        company="GREEN LEAF TRADING SDN BHD",
        date=date(2024, 3, 5),
        address="NO 5, JALAN BESAR, 47100 PUCHONG",
        total=Decimal(8),
        currency="MYR",
        line_items=[Item(description="Rye bread", quantity=2, unit_price=4, amount=8)],
    )


def test_fill_of_a_blank_page_is_null_and_empty():
    """A page without words gives null for every value and an empty list."""
    assert fill_schema(Receipt.model_json_schema(), pages(())) == {
        "company": None,
        "date": None,
        "address": None,
        "total": None,
        "currency": None,
        "line_items": [],
    }


class Strict(BaseModel):
    """A model without nullable fields."""

    total: Decimal
    issued: date
    cashier: str
    tags: list[str]
    paid: bool


def test_fill_omits_required_values_that_it_did_not_find():
    """Texts and lists are empty; a missing number, date or boolean is omitted, so that validation fails."""
    assert fill_schema(Strict.model_json_schema(), pages(())) == {"cashier": "", "tags": []}
    with pytest.raises(ValidationError, match="total"):
        read(Strict, ())


def test_fill_recognizes_synonyms_in_field_names():
    """Camel case is split, and a vague name such as `name` is read with its parent's name."""

    class Party(BaseModel):
        name: str | None

    class Paper(BaseModel):
        merchantName: str  # noqa: N815  the case that is tested
        receipt_number: str | None
        issue_date: str
        amount_due: float
        customer: Party | None
        phone: str | None

    paper = read(Paper, ("Customer: Ada Lovelace", *RECEIPT))
    assert paper.model_dump(exclude={"merchantName"}) == {
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
def test_fill_ignores_a_field_whose_name_only_resembles_a_known_one(name):
    """`total_pages` is not an amount, and `store_hours` is not a company."""
    schema = {"type": "object", "properties": {name: {"type": ["string", "number", "null"]}}}
    assert fill_schema(schema, pages(RECEIPT)) == {name: None}


def test_fill_finds_an_unknown_field_by_its_label():
    """A field without a finder gets the value beside the words of its name."""

    class Ticket(BaseModel):
        gate: str | None
        seat: str | None
        bags: int | None
        fragile: bool | None
        valid_until: date | None

    ticket = read(Ticket, ("Gate: B12", "Seat | 14C", "Bags: 3", "Fragile: yes", "Valid until: 01/02/2025"))
    assert ticket == Ticket(gate="B12", seat="14C", bags=3, fragile=True, valid_until=date(2025, 2, 1))


class Mood(Enum):
    """An enumeration with a neutral member."""

    calm = "calm"
    busy = "busy"
    unknown = "unknown"


def test_fill_of_an_enum_is_the_choice_on_the_page_or_a_neutral_one():
    """Without a neutral choice the value is null, and without null the field is omitted."""

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


def test_fill_of_a_currency_enum_is_null_for_other_currencies():
    schema = {"type": "object", "properties": {"currency": {"anyOf": [{"enum": ["EUR", "USD"]}, {"type": "null"}]}}}
    assert fill_schema(schema, pages(("TOTAL | 5,00 €",))) == {"currency": "EUR"}
    assert fill_schema(schema, pages(("TOTAL | RM 5.00",))) == {"currency": None}


def test_fill_reads_the_header_and_rows_of_a_table():
    """A list of lists is filled by columns."""

    class Table(BaseModel):
        title: str | None
        columns: list[str]
        rows: list[list[str]]

    table = read(Table, ("Towns", "Name | People", "Graz | 291", "Turku | 197"))
    assert table == Table(title="Towns", columns=["Name", "People"], rows=[["Graz", "291"], ["Turku", "197"]])


def test_fill_compares_two_pictures_by_their_lines():
    """Lines on both pictures are similarities; a line on one picture is a difference."""

    class Comparison(BaseModel):
        similarities: list[str]
        differences: list[str]
        summary: str

    comparison = read(Comparison, ("Acme", "Sign in"), ("Acme", "Sign out"))
    assert comparison.similarities == ["Acme"]
    assert comparison.differences == ["only picture 1: Sign in", "only picture 2: Sign out"]
    assert comparison.summary == '2 pictures with the words "Acme / Sign in / Acme / Sign out".'


class Difference(BaseModel):
    """A detail that differs between pictures."""

    aspect: str
    in_each: list[str]


class Compared(BaseModel):
    """A comparison of several pictures."""

    images: list[str]
    differences: list[Difference]


def test_fill_lists_the_text_of_every_picture_in_a_difference():
    """Each line that is missing on some picture gives one object, in the order of the pictures."""
    comparison = read(Compared, ("Acme", "Sign in", "Help"), ("Acme", "Sign out", "Help"), ("Acme", "Sign out"))
    missing = "not read in this picture"
    assert [(difference.aspect, difference.in_each) for difference in comparison.differences] == [
        ("Sign in", ["Sign in", missing, missing]),
        ("Help", ["Help", "Help", missing]),
        ("Sign out", [missing, "Sign out", "Sign out"]),
    ]


def test_fill_treats_lines_that_differ_in_punctuation_as_one():
    """The difference has the spelling of the first picture as its aspect, and each picture's own spelling."""
    (difference,) = read(Compared, ("Help!",), ("Help",), ()).differences
    assert (difference.aspect, difference.in_each) == ("Help!", ["Help!", "Help", "not read in this picture"])


def test_fill_describes_each_picture_in_one_sentence():
    """A picture without words has a sentence, too."""
    comparison = read(Compared, ("Acme", "Help"), ())
    assert comparison.images == ['A picture with the words "Acme / Help".', "A picture without readable words."]


def test_fill_treats_changes_of_one_picture_as_a_list_of_rows():
    """With one picture there is nothing to compare."""
    assert read(Compared, ("Acme",)).images == ['A picture with the words "Acme".']

    class Change(BaseModel):
        description: str
        amount: float

    class Bill(BaseModel):
        changes: list[Change]

    assert read(Bill, RECEIPT).changes == [Change(description="Rye bread", amount=8)]


def test_fill_lists_each_text_of_a_screen_as_a_part():
    """Each part has the neutral kind, and a recursive list ends empty."""

    class Part(BaseModel):
        kind: Literal["button", "image", "other"]
        label: str
        note: str | None
        parts: list["Part"] = []

    class Screen(BaseModel):
        project_name: str
        goal: str
        parts: list[Part]

    screen = fill_schema(Screen.model_json_schema(), pages(("Acme Dashboard", "Home | Reports")))
    assert screen["project_name"] == "Acme Dashboard"
    assert screen["goal"] == 'A picture with the words "Acme Dashboard / Home Reports".'
    assert [part["label"] for part in screen["parts"]] == ["Acme Dashboard", "Home", "Reports"]
    assert screen["parts"][0] == {"kind": "other", "label": "Acme Dashboard", "note": None, "parts": []}


def test_fill_of_a_caption_says_that_a_picture_has_no_words():
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
def test_fill_accepts_odd_schemas(schema):
    """Anything that a request calls a schema is filled without an error."""
    fill_schema(schema, pages(RECEIPT))
