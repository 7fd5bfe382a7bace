"""The items of a receipt or invoice: rows with an amount at the right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.dates import has_date
from extractors.endpoint.fill.find.labels import letters
from extractors.endpoint.fill.find.money import Amount, amounts, numbers
from extractors.endpoint.fill.find.totals import ends_items

if TYPE_CHECKING:
    from extractors.endpoint.ocr.words import Line, OcrDocument

_HEADER = re.compile(
    r"ITEM|DESC|QTY|QUANTITY|QNTY|PRICE|AMOUNT|AMT|TOTAL|DISC|TAX|UNIT|PRODUCT|ARTIKEL|MENGE|PREIS|\bUOM\b|\bRM\b|U/P"
)
_TIMES = re.compile(r"(?<![\w.])(\d{1,4}) ?[xX\u00d7](?=\s|$|\d+\.\d)|\*(\d{1,4})(?![\w.])")
_WIDE = "  "  # so that "2" and "107.00" in two columns are not read as one number
_CODE = re.compile(r"^[\W\d]*$|^\d{4,}\S*$")
_NOTE = re.compile(
    r"(?<![\d.,])\b[\dOo]?[\dOo]% ?|\b(?:SR|ZR|ZRL|SA|ZRI|S|Z|T|EA|PCS?|PKT|RM|RH|[xX])\b|[#@*^~<>|\u00d7=_]+"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One item as printed. Its unit price is given only where it makes the amount with the quantity."""

    description: str
    code: str | None
    quantity: Decimal | None
    unit_price: Decimal | None
    amount: Decimal


def find_rows(document: OcrDocument) -> list[Row]:
    """The items, in order: every line with an amount between the head of the table and the first total."""
    area = _find_area(document)
    priced = [number for number, line in enumerate(area) if _find_prices(line.text)]
    if not priced:
        return []
    bare = [number for number in priced if not _has_description(area[number].text)]
    above = bool(bare) and bare[0] > 0 and bare[0] - 1 not in priced and _has_description(area[bare[0] - 1].text)
    rows = []
    for number in priced:
        other = number - 1 if above else number + 1
        named = number in bare and 0 <= other < len(area) and other not in priced
        rows.append(_build_row(area[number], area[other].text if named else ""))
    return rows


def _find_area(document: OcrDocument) -> list[Line]:
    """The lines of the items: from below their header, or without one from the first amount, to the totals."""
    lines = document.lines
    priced = [number for number, line in enumerate(lines) if _find_prices(line.text)]
    last = next((number for number in priced if ends_items(lines[number].text)), len(lines))
    heads = [number for number in range(last) if _is_header(lines[number])]
    start = heads[0] + 1 if heads else max(0, priced[0] - 1) if priced else len(lines)
    while heads and start < last and _is_header(lines[start], least=1):
        start += 1
    ends = (number for number in range(start, last) if ends_items(lines[number].text))
    return list(lines[start : next(ends, last)])


def _is_header(line: Line, least: int = 2) -> bool:
    names = set(_HEADER.findall(line.text.upper()))
    return len(names) >= least and not any(map(str.isdigit, line.text)) and len(letters(line.text)) <= 60


def _find_prices(text: str) -> list[Amount]:
    """The amounts of a line; one behind "@" is the price of a piece."""
    return [each for each in amounts(text) if not text[: each.start].rstrip(" .").endswith("@")]


def _has_description(text: str) -> bool:
    words = [part for part in _description(text).split() if not _CODE.match(part)]
    return len(letters("".join(words))) > 2 and not has_date(text.upper())


def _description(text: str) -> str:
    """The words left of the numbers."""
    first = min((each.start for each in amounts(text)), default=len(text))
    head = _TIMES.sub(" ", text[:first])
    return re.sub(r"\s+", " ", _NOTE.sub(" ", head)).strip(" -.:,*")


def _build_row(line: Line, name: str) -> Row:
    text = _WIDE.join(word.text for word in line.words)
    amount = _find_prices(text)[-1]
    quantity, price = _factors(text, amount.start, amount.value)
    own = _description(text)
    parts = own.split()
    code = parts[0] if parts and re.fullmatch(r"\d{4,14}|[A-Z]{1,3}\d{2,}[\w/-]*", parts[0]) else None
    while quantity is not None and len(parts) > 1 and re.fullmatch(r"[\d.,]+", parts[-1]):
        parts.pop()
    shown = name.strip(" -*") or " ".join(parts[1:] if code and len(parts) > 1 else parts)
    return Row(shown, code, quantity, price, amount.value)


def _factors(text: str, end: int, amount: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """Quantity and unit price: two numbers of the row whose product is its amount."""
    before = [value for value, start, _ in numbers(text) if start < end or "*" in text[end:]]
    before += [each.value for each in amounts(text) if each.start < end]
    times = [Decimal(one or other) for one, other in _TIMES.findall(text)]
    wholes = times + [value for value in before if value == value.to_integral_value()]
    for quantity in wholes:
        price = next((each for each in before if abs(quantity * each - amount) <= Decimal("0.011") and each != 0), None)
        if price is not None and 0 < abs(quantity) < 10_000:
            return quantity, price
    return (times[0], None) if times else (None, None)
