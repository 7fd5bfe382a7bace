"""Row sums: whether the rows of a document's lists add up to the totals that its schema names.

| case                                          | verdict                                             |
|-----------------------------------------------|-----------------------------------------------------|
| the total or the amount of any row is null    | not judged                                          |
| the difference is at most 0.01 a row          | adds up                                             |
| rows missing, rows twice, an amount misread   | refused, with the difference in words               |
| no rows, and a total that is not 0            | refused: no rows add up to 0                        |
| a number that is not finite                   | refused: it adds up to nothing                      |
"""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic import BaseModel

    from extractors.core.row_sums import RowSum

TOLERANCE = Decimal("0.01")  # a row: printed amounts are rounded
# Exact for all numbers that fit a column, which has 38 digits; and never an exception.
_EXACT = Context(prec=100, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_MOST_DIGITS = 40  # of a number that is written without an exponent


class SumError(NamedTuple):
    """A list that does not add up: the field that is summed, the difference in words, and the sum."""

    field: str
    message: str
    value: Decimal


def find_sum_errors(document: BaseModel, row_sums: Iterable[RowSum]) -> list[SumError]:
    """The lists of a document that do not add up to their totals."""
    return list(_iter_sum_errors(document, row_sums))


def _iter_sum_errors(document: BaseModel, row_sums: Iterable[RowSum]) -> Iterator[SumError]:
    for row_sum in row_sums:
        total = _read_number(getattr(document, row_sum.total, None))
        amounts = _read_amounts(getattr(document, row_sum.rows, None), row_sum.amount)
        if total is None or amounts is None:
            continue
        added = reduce(_EXACT.add, amounts, Decimal(0))
        if not _adds_up(added, total, len(amounts)):
            yield SumError(row_sum.field, _describe(added, len(amounts), row_sum.total, total), added)


def _read_amounts(rows: object, name: str) -> Sequence[Decimal] | None:
    """The amounts of all rows; None where one has none."""
    if not isinstance(rows, list | tuple):
        return None
    amounts = [_read_number(getattr(row, name, None)) for row in rows]
    known = [each for each in amounts if each is not None]
    return known if len(known) == len(amounts) else None


def _read_number(value: object) -> Decimal | None:
    """A number as the decimals it is written with; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return value if isinstance(value, Decimal) else Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def _adds_up(added: Decimal, total: Decimal, rows: int) -> bool:
    difference = _EXACT.subtract(added, total)
    return difference.is_finite() and difference.copy_abs() <= TOLERANCE * max(1, rows)


def _describe(added: Decimal, rows: int, name: str, total: Decimal) -> str:
    difference = _EXACT.subtract(added, total)
    counted = f"{rows} row{'' if rows == 1 else 's'} add{'s' if rows == 1 else ''} up to {_format(added)}"
    compared = f"{counted}, and {name} is {_format(total)}"
    if not difference.is_finite():
        return compared
    if difference < 0:
        return f"{compared}: {_format(difference.copy_abs())} short (a row is missing, or a number misread)"
    return f"{compared}: {_format(difference)} over (a row is there twice, or a number misread)"


def _format(number: Decimal) -> str:
    return f"{number:f}" if number.is_finite() and -_MOST_DIGITS < number.adjusted() < _MOST_DIGITS else str(number)
