"""Numbers in a text, in any usual writing.

| written | read as |
|---|---|
| `1,234.50` `1.234,50` `1 234.50` `1'234.50` `1234.5` `RM1234.50` `$ 1,234.50` | 1234.50 |
| `1,234円` `合計1,234` | 1234; the 2018 of `2018年1月29日` is a part of a date |
| `1,234` `1.234` | 1234, and 1.234: both are usual |
| `12.50-` `(12.50)` `-12.50` | 12.50, as every sign is left out |
| `6 %` | 6, and 0.06 |
| `12 .50` `12. 50` | 12.50: OCR has put a space beside the point |
| the 50 of `112.50`, the 2018 of `29/01/2018`, the 123 of `AB123` | nothing: a part of a longer number, date or code |
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r"\d(?:[\d.,']*\d)?")
_SPACED = re.compile(r"(?<![\d.,'])\d{1,3}(?: \d{3})+(?:[.,]\d{1,4})?(?![\d]|[.,']\d)")
_BROKEN = re.compile(r"(?<![\d.,'])(\d{1,3}(?:[,']\d{3})*|\d+)(?: [.,]|[.,] )(\d\d)(?![\d]|[.,']\d)")
_GROUPED = re.compile(r"\d{1,3}(?:([.,' ])\d{3})(?:\1\d{3})*|\d{1,2}(?:,\d{2})+,\d{3}")
# Letters of scripts that write no spaces stand beside any number, such as a currency or a counter; those of dates, times and numbered
# places make it a part of these.
_UNSPACED, _DATE_MARKS = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af", "年月日時时分秒号號番년월일시분초호번"
_LETTERS = rf"(?:[{_DATE_MARKS}]|[^\W\d_{_UNSPACED}])+"
_LETTERS_BEFORE, _LETTERS_AFTER = re.compile(rf"{_LETTERS}\Z"), re.compile(_LETTERS)
_JOINTS = "/-:"  # between digits they make a date, a time or a code
_MARK_WORDS = """
RM RP RS R S US A HK C NT NZ MYR SGD AUD HKD CAD EUR GBP CHF INR KRW CNY RMB JPY IDR THB PHP USD BRL MXN PLN CZK SEK
NOK DKK HUF ZAR X QTY KR ZL KC FT VND TWD AED SAR TRY TL LEI RON Đ
"""
_UNIT_WORDS = """
PCS PC EA KG G GM L LT LTR ML M CM MM KM H HRS PAX SETS SET UNIT UNITS SR ZR Z T N
ST STK SZT KS KWH KW GB MB STD MIN
"""
_MARKS = frozenset(_MARK_WORDS.split())
_UNITS = _MARKS | frozenset(_UNIT_WORDS.split())


class NumberPlace(NamedTuple):
    """A number where it stands in a text; `digits` counts those of its writing, `is_whole`: no letter touches it."""

    value: Decimal
    start: int
    end: int
    digits: int
    is_whole: bool = True


def iter_numbers(text: str) -> Iterator[NumberPlace]:
    """Every number of a text, once for each way to read it."""
    for match in _TOKEN.finditer(text):
        yield from _read_token(text, match.start(), match.end(), match[0])
    for match in _SPACED.finditer(text):
        yield from _read_token(text, match.start(), match.end(), match[0].replace(" ", "'"))
    for match in _BROKEN.finditer(text):
        yield from _read_token(text, match.start(), match.end(), f"{match[1]}.{match[2]}")


def _read_token(text: str, start: int, end: int, token: str) -> Iterator[NumberPlace]:
    if _is_in_code(text, start, end):
        return
    before, after = _LETTERS_BEFORE.search(text, max(0, start - 12), start), _LETTERS_AFTER.match(text, end)
    values = set(read_number(token))
    if text[start - 1 : start] in {".", ","} and token.isdigit():
        values.add(Decimal(f"0.{token}"))
    if "." not in token and "," not in token and not _is_amount(before, after):
        return
    if text[end : end + 2].lstrip().startswith("%"):
        values |= {value / 100 for value in values}
    digits = sum(character.isdigit() for character in token)
    for value in values:
        yield NumberPlace(value, start, end, digits, not (before or after))


def _is_amount(before: re.Match[str] | None, after: re.Match[str] | None) -> bool:
    """Whether the letters that touch digits are a currency or a unit."""
    return (before is None or before[0].upper() in _MARKS) and (after is None or after[0].upper() in _UNITS)


def _is_in_code(text: str, start: int, end: int) -> bool:
    """Whether a digit stands behind a mark on either side: of a date, a time, a code, or a longer number."""
    joined_before = text[start - 1 : start] in {*_JOINTS, *".,'"} and text[max(0, start - 2) : start - 1].isdigit()
    joined_after = text[end : end + 1] in {*_JOINTS, *".,'"} and text[end + 1 : end + 2].isdigit()
    return (start > 0 and joined_before) or joined_after


def read_number(token: str) -> Iterator[Decimal]:
    """The numbers that digits with these marks can be: a mark may group digits, or begin the decimals."""
    if token.isdigit():
        yield Decimal(token)
        return
    last = max(token.rfind("."), token.rfind(","))
    whole, mark, decimals = token[: max(last, 0)], token[last : last + 1], token[last + 1 :]
    if last >= 0 and token.count(mark) == 1 and (whole.isdigit() or _GROUPED.fullmatch(whole)):
        yield Decimal("".join(filter(str.isdigit, whole)) + "." + decimals)
    if _GROUPED.fullmatch(token):
        yield Decimal("".join(filter(str.isdigit, token)))
