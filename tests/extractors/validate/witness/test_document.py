"""witness/document.py: where the values of a document are on its pages."""

import enum
from datetime import date, time
from decimal import Decimal
from typing import Literal

import pytest
from pydantic import BaseModel
from support.page_lines import page

from extractors.core.evidence import NOWHERE, Box
from extractors.validate.witness.document import find_sightings


class Item(BaseModel):
    """A row of the list."""

    description: str
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    amount: Decimal | None = None


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Receipt(BaseModel):
    """A document with a field of every kind."""

    company: str | None = None
    day: date | None = None
    subtotal: Decimal | None = None
    total: Decimal | float | str | None = None
    currency: str | None = None
    paid: bool | None = None
    kind: Literal["cash", "card"] | None = None
    colour: Colour | None = None
    at: time | None = None
    items: list[Item] = []


PAGE = page("""
TEO HENG STATIONERY
Date: 29/01/2018   14:05
CARBON PAPER   2   0.50       1.00
BALL PEN       1   2.20       2.20
RED STAPLER    3   4.00      12.00
SUBTOTAL  RM                 15.20
TOTAL     RM                 16.10
CASH                         20.00
""")


def find_by_field(*pages, **values):
    result = find_sightings(Receipt(**values), pages or (PAGE,))
    return {sighting.field: sighting for sighting in result.values}


def text_at(box):
    """The words printed at the centre of a box."""
    x, y = box.x + box.width / 2, box.middle
    words = [word for line in PAGE for word in line.words]
    return [w.text for w in words if w.box.x <= x <= w.box.right and w.box.y <= y <= w.box.bottom]


@pytest.mark.parametrize(
    ("field", "value", "printed"),
    [
        ("day", date(2018, 1, 29), "29/01/2018"),
        ("total", Decimal("16.1"), "16.10"),
        ("total", 16.1, "16.10"),
        ("total", "$16.10", "16.10"),
        ("total", "-16.10", "16.10"),
        ("currency", "MYR", "RM"),
        ("at", time(14, 5), "14:05"),
        ("company", "Heng", "HENG"),
    ],
)
def test_box_of_a_value_is_on_the_printed_word(field, value, printed):
    sighting = find_by_field(**{field: value})[field]
    assert (sighting.page, text_at(sighting.box)) == (1, [printed])


def test_box_of_a_value_covers_all_its_words():
    assert find_by_field(company="TEO HENG STATIONERY")["company"].box == Box(0, 0, 190, 20)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("total", Decimal("16.20")),
        ("day", date(2018, 1, 28)),
        ("company", "ACME"),
        ("total", Decimal("6.10")),
        ("total", "9 116.10"),
        ("total", 5.0),
    ],
)
def test_value_that_is_not_printed_has_page_zero(field, value):
    sighting = find_by_field(**{field: value})[field]
    assert (sighting.page, sighting.box) == (NOWHERE, None)


@pytest.mark.parametrize(
    "values",
    [
        {"company": "T"}, {"company": ""}, {"company": None}, {"paid": True}, {"kind": "cash"}, {"colour": "red"},
        {"total": Decimal(0)}, {"total": Decimal(7)}, {"currency": "EUR"}, {"company": "—"},
    ],
)  # fmt: skip
def test_value_that_printed_text_cannot_confirm_is_not_judged(values):
    """These are null, one letter, a boolean, a fixed choice, zero, one digit, and a currency that is not printed."""
    assert {sighting.page for sighting in find_by_field(**values).values()} == {None}


def test_value_printed_twice_is_placed_beside_its_label():
    repeated = page("AMOUNT 12.00\nSUBTOTAL 12.00\nTOTAL 12.00")
    sightings = find_by_field(repeated, subtotal=Decimal(12), total=Decimal(12))
    assert (sightings["subtotal"].box.y, sightings["total"].box.y) == (30, 60)


def test_cells_of_a_row_are_placed_on_its_line():
    """Each cell has its own box, even if two cells are equal; a single digit is placed on the row only."""
    items = [
        Item(description="Carbon Paper", quantity=2, unit_price=Decimal("0.5"), amount=1),
        Item(description="Ball pen", quantity=1, unit_price=Decimal("2.2"), amount=Decimal("2.2")),
    ]
    sightings = find_by_field(items=items)
    boxes = [
        sightings[f"items[{row}].{name}"].box
        for row in (0, 1)
        for name in ("description", "quantity", "unit_price", "amount")
    ]
    assert [box.y for box in boxes] == [60] * 4 + [90] * 4
    assert len({(box.x, box.y) for box in boxes}) == 8
    assert sightings["items"].page is None


def test_digit_that_is_not_on_its_row_has_no_sighting():
    assert "items[0].quantity" not in find_by_field(items=[Item(description="CARBON PAPER", quantity=7)])


def test_value_on_a_later_page_has_its_page_number():
    assert find_by_field(page("NOTHING HERE"), PAGE, total=Decimal("16.1"))["total"].page == 2


def test_value_of_a_page_without_text_has_page_zero():
    """A value that the model invents for a blank page is not seen."""
    assert find_by_field((), total=Decimal("16.1"))["total"].page == NOWHERE


def test_value_of_two_lines_is_seen_beside_another_column():
    """An address on the left and numbers on the right are lines of two columns."""
    text = page("12 High Street          Invoice 4711\n54321 Springfield       Customer 17")
    assert find_by_field(text, company="12 High Street, 54321 Springfield")["company"].page == 1


def test_each_of_five_hundred_rows_is_placed_on_its_line():
    rows = [(f"ITEM {'ABCDEFGHIJ'[number % 10]}{number:03}", Decimal(number) / 4 + 10) for number in range(500)]
    text = page("\n".join(f"{name}    2   {amount:8.2f}" for name, amount in rows))
    items = [Item(description=name, quantity=2, amount=amount) for name, amount in rows]
    result = find_sightings(Receipt(items=items), [text])
    sightings = {sighting.field: sighting for sighting in result.values}
    assert [sightings[f"items[{number}].amount"].box.y for number in range(500)] == [
        30 * number for number in range(500)
    ]
    assert (result.unseen, result.missing_rows) == (0, 0)
