"""The values that documents share, each as a pydantic type that reads what models really write.

Every one may be None: what a picture does not show is null, and so are `""`, `"-"`, `"n/a"`, `"none"` and `"null"`. What is there
but cannot be the value is refused. The JSON schema stays simple (a string, a number, or null), so any server takes it.

| written | read as | because |
|---|---|---|
| `25/12/2018` `25.12.2018` `25-12-18` `22 MAR 18` `2018/12/25 14:03` | that day | |
| `05/03/2018` | 5 March 2018 | day first where both would do |
| `03/25/2018` `Mar 25, 2018` | 25 March 2018 | the second number is above 12 |
| `18-03-05` | 18 March 2005 | a year comes first only with four digits |
| `25/12/69` | refused | 1969: two digits are the latest year not over two years ahead, and before 1970 nothing is read |
| `1,234.56` `1.234,56 €` `1 234,56` `1'234.56` | 1234.56 | of two marks the last one is the decimal mark |
| `1,234` | 1234 | three digits after one comma are thousands |
| `1.234` | 1.234 | a point is the decimal mark, as in JSON |
| `Rp 25.000` `120.000 ₫` `4.990 Ft` | 25000, 120000, 4990 | these currencies have no hundredths in use |
| `5,-` `12.--` `5:-` | 5, 12, 5 | no cents |
| `1⁹⁹` `12.50¹` | refused | a raised digit is cents or the number of a note |
| `12,50` `0,735` | 12.50, 0.735 | nothing else is possible |
| `$8.20` `RM 12.50` `12.50-` `(12.50)` | 8.20, 12.50, -12.50, -12.50 | currencies are left out, refunds are negative |
| `RM` `$` `€` `myr` | MYR, USD, EUR, MYR | a bare `$` is the US dollar |
| `kr` | refused as a currency | three countries write it; as part of an amount it is left out |
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from schemas._amounts import read_amount, read_currency, read_quantity, round_amount
from schemas._dates import plausible, read_date

_ABSENT = frozenset({"", "-", "--", "n/a", "na", "none", "null"})

MONEY_PLACES = 4  # fuel and electricity are priced in tenths of a cent and less
QUANTITY_PLACES = 6


def _text(value: object) -> object:
    """Text on one line, or None; a number where text was asked (an invoice's, say) is its text."""
    if not isinstance(value, str):
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return value
        value = str(value)
    line = " ".join(value.split())
    return None if line.lower() in _ABSENT else line


def _day(value: object) -> object:
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, date):
        return plausible(value)
    text = _text(value)
    return read_date(text) if isinstance(text, str) else text


def _money(value: object) -> object:
    number = _decimal(value)
    if isinstance(number, str):
        number = read_amount(number)
    return round_amount(number, MONEY_PLACES) if isinstance(number, Decimal) else number


def _quantity(value: object) -> object:
    number = _decimal(value)
    if isinstance(number, str):
        number = read_quantity(number)
    return round_amount(number, QUANTITY_PLACES) if isinstance(number, Decimal) else number


def _decimal(value: object) -> object:
    """A number as the decimals it is written with (0.1, not 0.1000000000000000055), text as text."""
    if isinstance(value, bool):
        raise ValueError("true and false are no amounts")  # noqa: TRY004  # pydantic reports a ValueError, not a TypeError
    if isinstance(value, (int, float)):
        return Decimal(str(value))
    return value if isinstance(value, Decimal) else _text(value)


def _currency(value: object) -> object:
    text = _text(value)
    return read_currency(text) if isinstance(text, str) else text


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("empty where words were asked for")
    return text.strip()


def _empty_when_null(value: object) -> object:
    return [] if value is None else value


def _blank_when_null(value: object) -> object:
    return "" if value is None else value


Text = Annotated[str | None, BeforeValidator(_text)]
Words = Annotated[str, AfterValidator(_not_empty)]
Cell = Annotated[str, BeforeValidator(_blank_when_null)]
Day = Annotated[Annotated[date, WithJsonSchema({"type": "string", "format": "date"})] | None, BeforeValidator(_day)]
Amount = Annotated[
    Annotated[Decimal, Field(max_digits=18, decimal_places=MONEY_PLACES), WithJsonSchema({"type": "number"})] | None,
    BeforeValidator(_money),
]
Quantity = Annotated[
    Annotated[Decimal, Field(max_digits=20, decimal_places=QUANTITY_PLACES), WithJsonSchema({"type": "number"})] | None,
    BeforeValidator(_quantity),
]
Currency = Annotated[
    Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})] | None, BeforeValidator(_currency)
]

Item = TypeVar("Item")
Many = Annotated[list[Item], BeforeValidator(_empty_when_null)]


class Document(BaseModel):
    """Read leniently: a missing field is null, and an unknown field is ignored."""

    model_config = ConfigDict(extra="ignore")


class LineItem(Document):
    """One line that was bought."""

    description: str = Field(description="What was bought, as printed on the line")
    quantity: Quantity = Field(
        default=None, description="How many, or how much by weight or volume; null if not printed"
    )
    unit_price: Amount = Field(default=None, description="The price of one; null if not printed")
    amount: Amount = Field(
        default=None, description="The line's amount, usually at its right end; negative for a discount"
    )
