"""Missing rows: lines that look like rows of a list, but are not in the answer."""

from decimal import Decimal

import pytest
from pydantic import BaseModel
from support.page_lines import page

from extractors.validate.witness.document import find_sightings


class Item(BaseModel):
    """A row of the list."""

    description: str
    amount: Decimal | None = None


class Bill(BaseModel):
    """A document with a list."""

    items: list[Item] = []
    total: Decimal | None = None


ROWS = [("CARBON PAPER", "1.00"), ("BALL PEN", "2.20"), ("RED STAPLER", "12.00"), ("GLUE", "0.90")]
PAGE = """
SHOP  TEL 12.34.56      page 1
CARBON PAPER   2   0.50       1.00
BALL PEN       1   2.20       2.20
RED STAPLER    3   4.00      12.00
GLUE           1   0.90       0.90
SUBTOTAL                     16.10
SERVICE                       1.00
TOTAL     RM                 17.10
CASH                         20.00
"""


def find_missing_rows(rows, *texts):
    """The page and the height of each missing line."""
    bill = Bill(items=[Item(description=name, amount=Decimal(amount)) for name, amount in rows], total=Decimal("17.1"))
    sightings = find_sightings(bill, [page(text) for text in texts or (PAGE,)])
    return [(sighting.page, sighting.box.y) for sighting in sightings.values if sighting.field == "items[?]"]


@pytest.mark.parametrize("dropped", [(), (0,), (3,), (1, 2), (0, 1, 3)])
def test_dropped_rows_are_reported_missing(dropped):
    """They may be first, last or between; sums, payments and the lines below the sums are not rows."""
    remaining = [row for number, row in enumerate(ROWS) if number not in dropped]
    assert find_missing_rows(remaining) == [(1, 30 * (number + 1)) for number in dropped]


def test_rows_of_a_later_page_are_reported_missing():
    """An answer may have read the first page only; an amount carried forward is not a row."""
    first = "CARBON PAPER   2   0.50       1.00\nBALL PEN       1   2.20       2.20\nCARRIED FORWARD               3.20"
    second = (
        "BROUGHT FORWARD               3.20\nRED STAPLER    3   4.00      12.00\nTOTAL                        17.10"
    )
    assert find_missing_rows(ROWS[:2], first, second) == [(2, 30)]


def test_list_without_a_seen_row_has_no_missing_rows():
    """Without a seen row, the form of a row is unknown."""
    assert find_missing_rows([("NOT THERE", "99.99")]) == []


def test_rows_with_whole_amounts_are_reported_missing():
    """A comma before three digits groups them: amounts with and without it have the same form."""
    text = "RAMEN   1,960\nGYOZA     450\nBEER    1,160\nTOTAL   3,570"
    assert find_missing_rows([("RAMEN", "1960"), ("BEER", "1160")], text) == [(1, 30)]
    assert find_missing_rows([("GYOZA", "450")], text) == [(1, 0), (1, 60)]


def test_second_of_two_equal_lines_is_reported_missing():
    text = "TEA      2.00\nTEA      2.00\nCAKE     3.50\nTOTAL   17.10"
    assert find_missing_rows([("TEA", "2.00"), ("CAKE", "3.50")], text) == [(1, 30)]
    assert find_missing_rows([("TEA", "2.00"), ("TEA", "2.00"), ("CAKE", "3.50")], text) == []


def test_rows_of_two_lines_are_reported_missing():
    """Till receipts have the name on one line, and quantity, price and amount on the next."""
    text = "CARBON PAPER\n2 X 0.50       1.00\nBALL PEN\n1 X 2.20       2.20\nGLUE\n1 X 0.90       0.90\nTOTAL         17.10"
    assert find_missing_rows([ROWS[0], ROWS[1]], text) == [(1, 150)]
