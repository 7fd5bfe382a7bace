"""Lines on a page that look like rows of a list and are in none of its rows.

Such a line has a number whose right edge is in the column of the list's amounts, written with as many decimals, and letters
where the rows that were seen have letters. Lines of sums, taxes and payments are none, nor what stands below the first of them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median_high
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from extractors.core.evidence import Box
    from extractors.validate.witness.pages import SearchPage

MOST_MISSING = 1_000  # lines of one list
_EDGE = 0.6  # times the height of the amount: how far its right edge may be from the column's
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_SUMS = re.compile(
    r"total|sub-?tot|\bsum|summe|gesamt|netto|brutto|\btax|\bvat\b|\bgst\b|\bsst\b|mwst|ust\b|\bcash|change|rounding|round|"
    r"balance|\bdue\b|\bpaid|payment|tender|amount|\bvisa\b|master|\bcard|deposit|service charge|\bqty\b|discount|saving|"
    r"zwischensumme|importe|montant|suma|totale|saldo|bayar|baki|jumlah|tunai",
    re.IGNORECASE,
)
_CARRIED = re.compile(r"carried|brought|c/f|b/f|[uü]bertrag|report", re.IGNORECASE)


class RowLine(NamedTuple):
    """A row of a list that was seen: its page and line, the lines of its other cells, and the boxes of its numbers by name."""

    page: int
    line: int
    lines: frozenset[int]
    numbers: Mapping[str, Box]


@dataclass(frozen=True, slots=True)
class _Column:
    """How the amounts of a list are written: the right edge of their column by page, and their decimals."""

    edge: float
    decimals: int | None
    has_letters: bool
    numbers: int


def find_missing_rows(
    rows: Sequence[RowLine], pages: Mapping[int, SearchPage], used: Mapping[int, Collection[int]]
) -> Iterator[tuple[int, Box]]:
    """The page and box of each line that looks like these rows; `used` are the lines of other values by page."""
    column = _learn_column(rows, pages)
    if column is None:
        return
    for number, page in pages.items():
        mine = [row for row in rows if row.page == number]
        taken = {line for row in mine for line in (*row.lines, row.line)} | set(used.get(number, ()))
        last = max((row.line for row in mine), default=None)
        for line in _list_candidates(page, column, last):
            if line not in taken:
                yield number, page.lines[line].box


def _learn_column(rows: Sequence[RowLine], pages: Mapping[int, SearchPage]) -> _Column | None:
    """The column of the amounts: of the numbers that most rows have, the one farthest to the right."""
    counts = Counter(name for row in rows for name in row.numbers)
    common = [name for name, count in counts.items() if 2 * count >= len(rows)]
    if not common:
        return None
    edges = {name: median_high(row.numbers[name].right for row in rows if name in row.numbers) for name in common}
    amount = max(common, key=lambda name: edges[name])
    lines = [(row, pages[row.page], row.line) for row in rows if amount in row.numbers]
    decimals = Counter(
        printed.decimals
        for row, page, line in lines
        for printed in page.list_numbers(line)
        if abs(printed.box.right - row.numbers[amount].right) < 1
    )
    letters = sum(bool(_LETTERS.search(page.line_texts[line])) for _, page, line in lines)
    numbers = median_high(len(page.list_numbers(line)) for _, page, line in lines)
    most = decimals.most_common(1)
    return _Column(edges[amount], most[0][0] if most else None, 2 * letters > len(lines), numbers)


def _list_candidates(page: SearchPage, column: _Column, last: int | None) -> Iterator[int]:
    """The lines with an amount in the column, until the first line of sums below the last row that was seen."""
    seen_one = last is not None
    for line, text in enumerate(page.line_texts):
        if _SUMS.search(text) or _CARRIED.search(text):
            if seen_one and (last is None or line > last) and not _CARRIED.search(text):
                return
        elif _has_amount(page, line, column) and (not column.has_letters or _LETTERS.search(text)):
            seen_one = True
            yield line


def _has_amount(page: SearchPage, line: int, column: _Column) -> bool:
    printed = page.list_numbers(line)
    if not column.has_letters and len(printed) < column.numbers:
        return False
    return any(
        abs(each.box.right - column.edge) < _EDGE * each.box.height
        and (column.decimals is None or each.decimals == column.decimals)
        for each in printed
    )
