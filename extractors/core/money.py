"""Tokens and dollars: usage, prices, and estimates."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

MILLION = Decimal(1_000_000)
NANO = Decimal("0.000000001")  # of a dollar: the precision of all tables


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the server; reasoning is part of completion, cached is part of prompt."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, and the day of the price. Without `cached`, cached tokens cost as much as `input`."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    as_of: date | None = None

    def cost(self, usage: Usage) -> Decimal:
        """The cost of this usage, to the nanodollar."""
        cached = min(usage.cached, usage.prompt)
        cached_price = self.input if self.cached is None else self.cached
        total = (usage.prompt - cached) * self.input + cached * cached_price + usage.completion * self.output
        return (total / MILLION).quantize(NANO)


FREE = Price(Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Costs:
    """One page's or one run's estimate in dollars; None when the price is unknown."""

    low: Decimal | None = Decimal(0)
    expected: Decimal | None = Decimal(0)
    high: Decimal | None = Decimal(0)

    def __add__(self, other: Costs) -> Costs:
        """The sum; None where one part is None."""
        return Costs(
            add_known(self.low, other.low),
            add_known(self.expected, other.expected),
            add_known(self.high, other.high),
        )

    def times(self, count: int) -> Costs:
        """The costs of so many alike, exactly."""
        return Costs(*(None if cost is None else cost * count for cost in self.values()))

    def scale(self, factor: float) -> Costs:
        """The costs times a factor, to the nanodollar."""
        by = Decimal(factor)
        return Costs(*(None if cost is None else (cost * by).quantize(NANO) for cost in self.values()))

    def values(self) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        """Low, expected, high."""
        return self.low, self.expected, self.high


def add_known(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """The sum of two amounts; None when one is unknown."""
    return None if one is None or other is None else one + other


class Means(NamedTuple):
    """Completion tokens and seconds of an accepted answer, None without any answers."""

    output_tokens: int | None = None
    seconds: float | None = None


NO_MEANS = Means()


@overload
def to_nano(amount: Decimal) -> int: ...
@overload
def to_nano(amount: None) -> None: ...
@overload
def to_nano(amount: Decimal | None) -> int | None: ...
def to_nano(amount: Decimal | None) -> int | None:
    """Dollars as whole nanodollars, as the ledger stores them."""
    return None if amount is None else int(amount / NANO)


def from_nano(amount: int) -> Decimal:
    """Whole nanodollars as dollars."""
    return amount * NANO


def sum_known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of amounts; None when one is unknown."""
    result = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        result += amount
    return result


def dollars(amount: Decimal | None) -> str:
    """Dollars as every output writes them; `unknown` where the price is not known.

    0 -> $0    1234.5 -> $1,234.50    0.5 -> $0.50    0.0174612 -> $0.0175    0.000000001 -> $0.000000001
    """
    if amount is None:
        return "unknown"
    if amount == 0:
        return "$0"
    sign, size = "-" if amount < 0 else "", abs(amount)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    digits = f"{size:.{2 - size.adjusted()}f}"  # three that are significant
    whole, _, cents = digits.partition(".")
    return f"{sign}${whole}.{cents[:2]}{cents[2:].rstrip('0')}"
