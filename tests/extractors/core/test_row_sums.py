"""row_sums: which declarations of `ROWS_SUM_TO` a schema may have, and that they are a part of its hash."""

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
    """A row with numbers of all kinds."""

    what: str = ""
    amount: Amount = None
    cents: Cents = Cents(0)
    weight: float | int | None = None
    paid: bool = False


class Bill(BaseModel):
    """Lists of all kinds beside totals of all kinds."""

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


def declare(declared):
    """What a module with this `ROWS_SUM_TO` declares for a bill."""
    module = ModuleType("own_bill")
    module.__file__ = "bills/own_bill.py"
    module.ROWS_SUM_TO = declared
    return read_row_sums("bill", Bill, module)


@pytest.mark.parametrize(
    ("field", "total"),
    [("lines.amount", "total"), ("more.cents", "cents"), ("others.weight", "weight"), ("lines.cents", "total")],
)
def test_numbers_of_a_list_may_add_up_to_a_number(field, total):
    """Decimal, int and float, also where they may be null, in lists and tuples of one model."""
    rows, amount = field.split(".")
    assert declare({field: total}) == (RowSum(rows, amount, total),)


@pytest.mark.parametrize(
    ("declared", "words"),
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
def test_other_declarations_are_refused_with_what_is_allowed(declared, words):
    """In one line that names the file."""
    with pytest.raises(ConfigurationError) as raised:
        declare(declared)
    assert [word for word in ("bills/own_bill.py: ROWS_SUM_TO", *words) if word not in raised.value.message] == []
    assert "\n" not in raised.value.message


def test_hash_changes_with_the_declaration_alone():
    """The schemas that declare no sums have the hash of their JSON schema, as before."""
    invoice = load("invoice")
    assert invoice.row_sums == (RowSum("line_items", "amount", "subtotal"),)
    without = replace(invoice, row_sums=())
    assert without.hash != invoice.hash
    assert without.hash == digest(orjson.dumps(invoice.wire, option=orjson.OPT_SORT_KEYS))
    assert without.prompt_hash("") == invoice.prompt_hash("")
