"""row_sums.py: which declarations of `ROWS_SUM_TO` a schema may have, and that they are part of its hash."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from types import ModuleType
from typing import Annotated, NewType

import orjson
import pytest
from pydantic import BaseModel, Field

from extractors.core.errors import ConfigurationError
from extractors.core.row_sums import RowSum, read_row_sums
from extractors.core.schema import digest, load

Amount = Annotated[Annotated[Decimal, Field(decimal_places=2)] | None, Field()]
Cents = NewType("Cents", int)


class Line(BaseModel):
    """A row with numbers of several types."""

    what: str = ""
    amount: Amount = None
    cents: Cents = Cents(0)
    weight: float | int | None = None
    paid: bool = False


class Bill(BaseModel):
    """Lists of several types and totals of several types."""

    lines: list[Line]
    more: Annotated[tuple[Line, ...], Field(min_length=1)]
    others: Sequence[Line] = ()
    maybe: list[Line] | None = None
    mixed: list[Line | None] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)
    total: Amount = None
    cents: int = 0
    weight: float | None = None
    note: str = ""


def declare(declaration):
    """The row sums of a bill whose module declares this `ROWS_SUM_TO`."""
    module = ModuleType("own_bill")
    module.__file__ = "bills/own_bill.py"
    module.ROWS_SUM_TO = declaration
    return read_row_sums("bill", Bill, module)


@pytest.mark.parametrize(
    ("field", "total"),
    [("lines.amount", "total"), ("more.cents", "cents"), ("others.weight", "weight"), ("lines.cents", "total")],
)
def test_rows_sum_to_accepts_numbers_of_a_list(field, total):
    """Decimal, int and float are accepted, nullable or not, in lists and tuples of one model."""
    rows, amount = field.split(".")
    assert declare({field: total}) == (RowSum(rows, amount, total),)


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ("lines.amount", ("must name", '{"line_items.amount": "subtotal"}')),
        ({"lines.amount": 1}, ("must name", '{"line_items.amount": "subtotal"}')),
        ({"lines": "total"}, ("'lines'", "line_items.amount")),
        ({"pages.lines.amount": "total"}, ("'pages.lines.amount'", "a list of the document")),
        ({"line.amount": "total"}, ("'line'", "did you mean lines")),
        ({"lines.amont": "total"}, ("'amont'", "no field of Line", "did you mean amount")),
        ({"lines.amount": "totl"}, ("'totl'", "no field of Bill", "did you mean total")),
        ({"maybe.amount": "total"}, ("'maybe'", "not optional")),
        ({"mixed.amount": "total"}, ("'mixed'", "list of one model")),
        ({"words.amount": "total"}, ("'words'", "list of one model")),
        ({"total.amount": "total"}, ("'total'", "list of one model")),
        ({"lines.what": "total"}, ("'what'", "Decimal, int or float")),
        ({"lines.paid": "total"}, ("'paid'", "Decimal, int or float")),
        ({"lines.amount": "note"}, ("'note'", "Decimal, int or float")),
    ],
)
def test_rows_sum_to_refuses_other_declarations_in_one_line(declaration, words):
    """The line names the file and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        declare(declaration)
    assert [word for word in ("bills/own_bill.py: ROWS_SUM_TO", *words) if word not in raised.value.message] == []
    assert "\n" not in raised.value.message


def test_row_sums_change_the_schema_hash_but_not_the_prompt_hash():
    """A schema without row sums has the hash of its JSON schema."""
    invoice = load("invoice")
    assert invoice.row_sums == (RowSum("line_items", "amount", "subtotal"),)
    no_sums = replace(invoice, row_sums=())
    assert no_sums.hash != invoice.hash
    assert no_sums.hash == digest(orjson.dumps(invoice.wire, option=orjson.OPT_SORT_KEYS))
    assert no_sums.prompt_hash("") == invoice.prompt_hash("")
