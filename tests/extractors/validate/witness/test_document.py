"""Where the values of a document stand on its pages."""

import enum
import time as clock
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
    """A fixed choice."""

    RED = "red"


class Receipt(BaseModel):
    """A document with a value of every kind."""

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


def sightings(*pages, **values):
    found = find_sightings(Receipt(**values), pages or (PAGE,))
    return {each.field: each for each in found.values}


def text_at(box):
    """What is printed at the centre of a box."""
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
def test_box_of_a_value_lies_on_what_is_printed(field, value, printed):
    seen = sightings(**{field: value})[field]
    assert (seen.page, text_at(seen.box)) == (1, [printed])


def test_box_covers_all_words_of_a_value():
    assert sightings(company="TEO HENG STATIONERY")["company"].box == Box(0, 0, 190, 20)


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
def test_value_that_stands_nowhere_has_page_zero(field, value):
    seen = sightings(**{field: value})[field]
    assert (seen.page, seen.box) == (NOWHERE, None)


@pytest.mark.parametrize(
    "values",
    [
        {"company": "T"}, {"company": ""}, {"company": None}, {"paid": True}, {"kind": "cash"}, {"colour": "red"},
        {"total": Decimal(0)}, {"total": Decimal(7)}, {"currency": "EUR"}, {"company": "—"},
    ],
)  # fmt: skip
def test_value_whose_characters_prove_nothing_is_not_judged(values):
    """Null, one letter, a boolean, a fixed choice, zero, one digit, and a currency that is not printed."""
    assert {each.page for each in sightings(**values).values()} == {None}


def test_one_of_equal_places_is_that_beside_the_label():
    """12.00 stands twice; the subtotal's is beside its label."""
    doubled = page("AMOUNT 12.00\nSUBTOTAL 12.00\nTOTAL 12.00")
    found = sightings(doubled, subtotal=Decimal(12), total=Decimal(12))
    assert (found["subtotal"].box.y, found["total"].box.y) == (30, 60)


def test_cells_of_a_row_stand_on_its_line():
    """Each cell has a box of its own, also where two of them are equal; a digit is placed on the row only."""
    items = [
        Item(description="Carbon Paper", quantity=2, unit_price=Decimal("0.5"), amount=1),
        Item(description="Ball pen", quantity=1, unit_price=Decimal("2.2"), amount=Decimal("2.2")),
    ]
    found = sightings(items=items)
    boxes = [
        found[f"items[{row}].{name}"].box
        for row in (0, 1)
        for name in ("description", "quantity", "unit_price", "amount")
    ]
    assert [box.y for box in boxes] == [60] * 4 + [90] * 4
    assert len({(box.x, box.y) for box in boxes}) == 8
    assert found["items"].page is None


def test_digit_that_is_not_on_its_row_is_left_out():
    assert "items[0].quantity" not in sightings(items=[Item(description="CARBON PAPER", quantity=7)])


def test_value_on_a_later_page_has_its_number():
    assert sightings(page("NOTHING HERE"), PAGE, total=Decimal("16.1"))["total"].page == 2


def test_page_without_text_shows_no_value():
    """Nothing was read: a value that is invented for a blank page stands nowhere."""
    assert sightings((), total=Decimal("16.1"))["total"].page == NOWHERE


def test_value_of_two_lines_of_a_column_is_seen_beside_another_column():
    """An address block on the left and numbers on the right are lines of two columns."""
    text = page("12 High Street          Invoice 4711\n54321 Springfield       Customer 17")
    assert sightings(text, company="12 High Street, 54321 Springfield")["company"].page == 1


def test_five_hundred_rows_are_placed_in_a_second():
    """Each row is on its own line of a long page."""
    rows = [(f"ITEM {'ABCDEFGHIJ'[number % 10]}{number:03}", Decimal(number) / 4 + 10) for number in range(500)]
    text = page("\n".join(f"{name}    2   {amount:8.2f}" for name, amount in rows))
    items = [Item(description=name, quantity=2, amount=amount) for name, amount in rows]
    began = clock.process_time()
    found = find_sightings(Receipt(items=items), [text])
    assert clock.process_time() - began < 5
    placed = {each.field: each for each in found.values}
    assert [placed[f"items[{number}].amount"].box.y for number in range(500)] == [30 * number for number in range(500)]
    assert (found.unseen, found.missing_rows) == (0, 0)
