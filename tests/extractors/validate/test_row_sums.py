"""row_sums: documents whose rows add up are accepted; all others are refused, and the message has the difference."""

import json
import random
from decimal import Decimal

import pytest
from pydantic import BaseModel

from extractors.core import Reply
from extractors.core.row_sums import RowSum
from extractors.core.schema import load
from extractors.validate import list_errors, validate
from extractors.validate.row_sums import find_sum_errors

INVOICE = load("invoice")
SEED = 20261130


class Line(BaseModel):
    """A row with numbers of several types."""

    amount: Decimal | None = None
    weight: float | None = None
    count: int | None = None


class Bill(BaseModel):
    """A list and the totals of its columns."""

    lines: list[Line]
    amount: Decimal | None = None
    weight: float | None = None
    count: int | None = None


def judge(**fields):
    """The verdict on an invoice with these fields."""
    content = json.dumps({"vendor": "Acme", **fields})
    return validate(Reply(200, "", content=content, finish_reason="stop"), INVOICE.model, INVOICE.row_sums)


def build_rows(*amounts):
    return [{"description": "a part", "amount": amount} for amount in amounts]


def list_messages(name, amounts, total):
    """The errors of a bill with these amounts and this total in the field of this name."""
    bill = Bill.model_validate({"lines": [{name: amount} for amount in amounts], name: total})
    return [error.message for error in find_sum_errors(bill, [RowSum("lines", name, name)])]


@pytest.mark.parametrize(
    ("amounts", "subtotal"),
    [
        (["10.00", "2.50"], "12.50"),
        (["10.00", "-2.50"], "7.50"),  # a discount
        (["10.00", "2.50"], "12.52"),  # the tolerance is a cent per row
        (["0.1"] * 10, "1"),
        ([None, "2.50"], "12.50"),
        (["10.00", "2.50"], None),
        ([], None),
        ([], "0.00"),
        (["1,234.56 €"], "1.234,56"),
    ],
)
def test_rows_that_add_up_or_are_incomplete_are_accepted(amounts, subtotal):
    assert judge(line_items=build_rows(*amounts), subtotal=subtotal).outcome == "accepted"


@pytest.mark.parametrize(
    ("amounts", "subtotal", "words"),
    [
        (["10.00"], "12.50", "1 row adds up to 10.00, and subtotal is 12.50: 2.50 short"),
        (["10.00", "2.50", "2.50"], "12.50", "3 rows add up to 15.00, and subtotal is 12.50: 2.50 over"),
        (["10.00", "2.50"], "12.53", "0.03 short"),
        (["10.00", "2.50"], "-12.50", "25.00 over"),
        ([], "12.50", "0 rows add up to 0, and subtotal is 12.50: 12.50 short"),
    ],
)
def test_rows_that_do_not_add_up_are_refused(amounts, subtotal, words):
    verdict = judge(line_items=build_rows(*amounts), subtotal=subtotal)
    assert (verdict.outcome, verdict.document, verdict.sum_differs) == ("refused", None, True)
    assert verdict.errors.startswith("line_items.amount: ")
    assert words in verdict.errors


def test_list_errors_names_the_column_and_its_sum():
    """`tilewise try` shows it field by field."""
    reply = Reply(200, "", content=json.dumps({"vendor": "Acme", "subtotal": 3, "line_items": build_rows("1", "1")}))
    [error] = list_errors(reply, INVOICE.model, INVOICE.row_sums)
    assert (error.field, error.value) == ("line_items.amount", Decimal(2))


@pytest.mark.parametrize(
    ("name", "amounts", "total", "adds_up"),
    [
        ("weight", [0.1, 0.2], 0.3, True),
        ("weight", [0.1, 0.2], 0.33, False),
        ("weight", [float("nan")], 0.3, False),
        ("weight", [float("inf")], float("inf"), False),
        ("count", [2**62, 2**62], 2**63, True),
        ("count", [2**62, 2**62], 2**63 + 1, False),
        ("amount", ["9" * 30 + ".01", "0.02"], "9" * 30 + ".03", True),
        ("amount", ["9" * 30 + ".01", "0.02"], "9" * 30 + ".06", False),
        ("amount", ["9E+999999", "9E+999999"], "1", False),
        ("amount", ["1E-999999", "1"], "1", True),
    ],
)
def test_find_sum_errors_adds_numbers_exactly(name, amounts, total, adds_up):
    """Integers, floats as they are written, and Decimals of any size; a sum with NaN or infinity never matches."""
    assert (list_messages(name, amounts, total) == []) is adds_up


def draw_invoice(draw):
    """The amounts of a correct invoice, none near 0, and its subtotal: their sum rounded per row or once."""
    exact = [
        Decimal(draw.choice((1, 1, 1, -1)) * draw.randint(5_000, 99_999_999)) / 1000 for _ in range(draw.randint(1, 40))
    ]
    amounts = [amount.quantize(Decimal("0.01")) for amount in exact]
    return amounts, sum(draw.choice((exact, amounts)), Decimal(0)).quantize(Decimal("0.01"))


def falsify(draw, amounts, subtotal):
    """The same rows with one dropped, doubled or altered by more than the tolerance."""
    number, kind = draw.randrange(len(amounts)), draw.choice(("dropped", "doubled", "altered"))
    before, row, after = amounts[:number], amounts[number], amounts[number + 1 :]
    digit = Decimal(10) ** draw.randint(0, 5) * draw.choice((1, -1, 9, -9))
    return {
        "dropped": [*before, *after],
        "doubled": [*before, row, row, *after],
        "altered": [*before, row + digit, *after],
    }[kind]


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_false_invoices_are_refused_and_correct_ones_accepted(count):
    """Generated invoices have up to 40 rows and discounts; one row is dropped, doubled or altered in one digit."""
    draw = random.Random(SEED)
    wrong = []
    for _ in range(count):
        amounts, subtotal = draw_invoice(draw)
        false_amounts = falsify(draw, amounts, subtotal)
        verdicts = [
            judge(line_items=build_rows(*map(str, column)), subtotal=str(subtotal))
            for column in (amounts, false_amounts)
        ]
        if [verdict.outcome for verdict in verdicts] != ["accepted", "refused"]:
            wrong.append((amounts, false_amounts, subtotal))
    assert wrong == []
