"""The pages of a document as they are searched: every number, every date and all text, each read once."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from extractors.validate.witness.dates import iter_dates
from extractors.validate.witness.numbers import iter_numbers
from extractors.validate.witness.texts import FoldedText, fold_text
from extractors.validate.witness.words import PageText, narrow_text, order_by_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core.evidence import Box
    from extractors.validate.witness.words import PageLine

Number = int | float | Decimal
_AMOUNT_TEXT = re.compile(r"[^\d\w]{0,3}(?:[A-Z]{2,3}|R)?[^\d\w]{0,3}(?!0\d)\d[\d.,' ]*[- ]*(?:[A-Z]{3}|[€%])?\)?")
_SYMBOLS = {
    "MYR": "RM", "EUR": "€", "GBP": "£", "INR": "₹", "KRW": "₩", "PHP": "₱", "THB": "฿", "PLN": "zł", "CZK": "Kč",
    "JPY": "¥", "CNY": "¥", "BRL": "R$", "IDR": "Rp", "CHF": "Fr",
    **dict.fromkeys(("USD", "SGD", "AUD", "CAD", "HKD", "NZD", "TWD", "MXN"), "$"),
}  # fmt: skip


class Place(NamedTuple):
    """Where a value stands: the number of its page from 1, its line, its box, and how well it fits (more is better)."""

    page: int
    line: int
    box: Box
    rank: float


class PrintedNumber(NamedTuple):
    """A number on a line: its box, and how many decimals it is written with."""

    box: Box
    decimals: int


@dataclass(frozen=True)
class SearchPage:
    """One page that is searched."""

    number: int
    lines: tuple[PageLine, ...]

    @cached_property
    def by_line(self) -> PageText:
        """Its text, line by line."""
        return PageText(self.lines)

    @cached_property
    def _texts(self) -> tuple[tuple[PageText, FoldedText], ...]:
        """Its text line by line, and column by column where it has columns."""
        columns = PageText(order_by_columns(self.lines))
        texts = (self.by_line,) if columns.text == self.by_line.text else (self.by_line, columns)
        return tuple((text, FoldedText(text.text)) for text in texts)

    @cached_property
    def _numbers(self) -> dict[Decimal, list[tuple[int, int, int, bool]]]:
        places: dict[Decimal, list[tuple[int, int, int, bool]]] = defaultdict(list)
        for value, start, end, digits, is_whole in iter_numbers(self.by_line.text):
            if (start, end, digits, is_whole) not in places[value]:
                places[value].append((start, end, digits, is_whole))
        return places

    @cached_property
    def _dates(self) -> dict[date, list[tuple[int, int]]]:
        places: dict[date, list[tuple[int, int]]] = defaultdict(list)
        for value, start, end in iter_dates(self.by_line.text):
            places[value].append((start, end))
        return places

    @cached_property
    def _placed(self) -> dict[tuple[Decimal, int], list[Place]]:
        """The places of the numbers that were looked for."""
        return {}

    def find_number(self, value: Decimal, least_digits: int) -> list[Place]:
        """The places of a number, its sign left out, that are written with so many digits."""
        wanted = abs(value), least_digits
        if wanted not in self._placed:
            self._placed[wanted] = [
                self._build_place(start, end, 1.0 if is_whole else 0.5)
                for start, end, digits, is_whole in self._numbers.get(abs(value), ())
                if digits >= least_digits
            ]
        return self._placed[wanted]

    def find_date(self, value: date) -> list[Place]:
        """The places of a date."""
        return [self._build_place(start, end, 1.0) for start, end in self._dates.get(value, ())]

    def find_text(self, value: str) -> list[Place]:
        """The places of a text, first where it is read line by line."""
        for text, folded in self._texts:
            if found := folded.find(value):
                return [
                    Place(
                        self.number,
                        self._find_line(text, place.start),
                        text.find_box(place.start, place.end),
                        float(place.is_whole),
                    )
                    for place in found
                ]
        return []

    @cached_property
    def line_texts(self) -> list[str]:
        """The text of each line."""
        return self.by_line.text.split("\n")

    @cached_property
    def _printed(self) -> dict[int, dict[tuple[int, int], int]]:
        """The span of each number by line, and its decimals."""
        printed: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        for place in iter_numbers(self.by_line.text):
            decimals = count_decimals(self.by_line.text[place.start : place.end])
            printed[self.by_line.find_line(place.start)][place.start, place.end] = decimals
        return printed

    def list_numbers(self, line: int) -> list[PrintedNumber]:
        """The numbers of a line, from left to right."""
        return [
            PrintedNumber(self.by_line.find_box(start, end), decimals)
            for (start, end), decimals in sorted(self._printed.get(line, {}).items())
        ]

    def find_symbol(self, symbol: str) -> list[Place]:
        """The places of the symbol of a currency, which digits may touch."""
        pattern = re.compile(rf"(?<![^\W\d_]){re.escape(symbol)}(?![^\W\d_])", re.IGNORECASE)
        return [self._build_place(*match.span(), 1.0) for match in pattern.finditer(self.by_line.text)]

    def count_labels(self, place: Place, words: Sequence[str]) -> int:
        """How many of these words stand on the line of a place."""
        line = self._folded_lines[place.line]
        return sum(word in line for word in words)

    @cached_property
    def _folded_lines(self) -> list[set[str]]:
        """The words of each line, folded."""
        return [{fold_text(word)[0] for word in re.findall(r"[^\W\d_]+", text)} for text in self.line_texts]

    def _build_place(self, start: int, end: int, rank: float) -> Place:
        return Place(self.number, self.by_line.find_line(start), self.by_line.find_box(start, end), rank)

    def _find_line(self, text: PageText, start: int) -> int:
        """The number of the line, among those of the page, on which this place of a text stands."""
        if text is self.by_line:
            return text.find_line(start)
        middle = text.lines[text.find_line(start)].box.middle
        distances = [abs(line.box.middle - middle) for line in self.lines]
        return distances.index(min(distances))


def count_decimals(written: str) -> int:
    """How many decimals a number is written with; three digits behind a mark are taken for thousands."""
    last = max(written.rfind("."), written.rfind(","))
    decimals = len(written) - 1 - last if last >= 0 else 0
    return 0 if decimals == 3 else decimals


def find_value(value: object, pages: Sequence[SearchPage]) -> list[Place] | None:
    """The places of a value on all pages, nowhere if empty; None for a value whose characters prove nothing."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Number):
        return _find_number(value, pages)
    if isinstance(value, date):
        day = value.date() if isinstance(value, datetime) else value
        return [place for page in pages for place in page.find_date(day)]
    if isinstance(value, time):
        return _find_any(_write_time(value), pages)
    return _find_text(value, pages) if isinstance(value, str) else None


def _find_number(value: Number, pages: Sequence[SearchPage]) -> list[Place] | None:
    """The places of a number; a whole number of one digit is looked for with decimals only."""
    number = Decimal(f"{value:.12g}") if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or number == 0:
        return None
    least_digits = 2 if is_one_digit(value) else 1
    places = [place for page in pages for place in page.find_number(number, least_digits)]
    has_decimals = isinstance(value, float) or int(number.as_tuple().exponent) < 0
    return places or (None if least_digits > 1 and not has_decimals else [])


def is_one_digit(value: object) -> bool:
    """Whether a value is a whole number of one digit, which may stand anywhere by chance."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    return -10 < value < 10 and value == int(value)


def find_digit(value: Number, pages: Sequence[SearchPage]) -> list[Place]:
    """The places of a whole number of one digit, in any writing."""
    return [place for page in pages for place in page.find_number(Decimal(int(value)), 1)] if value else []


def _find_text(value: str, pages: Sequence[SearchPage]) -> list[Place] | None:
    """A text; where it is written otherwise, what it says: an amount, an ISO date, the symbol of a currency."""
    value = narrow_text(value)
    folded, _ = fold_text(value)
    if len(folded) < 2:
        return None
    if places := [place for page in pages for place in page.find_text(value)]:
        return places
    if _AMOUNT_TEXT.fullmatch(value.strip()):
        return [place for number in _read_amount(value) for page in pages for place in page.find_number(number, 2)]
    if day := _read_date(value):
        return [place for page in pages for place in page.find_date(day)]
    if value.strip() in _SYMBOLS:  # mostly concluded, and not printed
        return [place for page in pages for place in page.find_symbol(_SYMBOLS[value.strip()])] or None
    return []


def _read_amount(value: str) -> set[Decimal]:
    """The numbers that a whole text can be: not the 234.50 of `1 234.50`."""
    last = max(at for at, character in enumerate(value) if character.isdigit())
    return {each.value for each in iter_numbers(value) if each.end > last and not re.search(r"\d", value[: each.start])}


def _read_date(value: str) -> date | None:
    """The date that a whole text is; of two readings the first by day, month, year."""
    found = sorted({place.value for place in iter_dates(value) if place.end - place.start >= len(value.strip()) - 1})
    return found[0] if len(found) == 1 else None


def _find_any(texts: Sequence[str], pages: Sequence[SearchPage]) -> list[Place]:
    return [place for text in texts for page in pages for place in page.find_text(text)]


def _write_time(value: time) -> list[str]:
    """The usual writings of a time of day."""
    hours = dict.fromkeys(
        (f"{value.hour:02}", str(value.hour), f"{value.hour % 12 or 12:02}", str(value.hour % 12 or 12))
    )
    return [f"{hour}{mark}{value.minute:02}" for hour in hours for mark in (":", ".")]
