"""Amounts of money and the currency they are in."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.endpoint.ocr.words import OcrDocument

_CODES = "MYR|SGD|AUD|HKD|CAD|EUR|GBP|CHF|INR|KRW|CNY|JPY|IDR|THB|PHP|USD"
_SYMBOL = rf"(?:RM|R[HN](?= ?\d)|(?:S|US|A|HK|C)?\$|Rp\.?|Rs\.?|[€£¥￥₹₩฿₱]|{_CODES})"
_DIGIT = r"[\dOoIlB]"  # letters that are read for digits; an amount needs real ones too
_GROUPS = r"\d{1,3}(?:[,.' ]\d{3})+"
_AMOUNT = re.compile(
    rf"(?<![\w.,])(?P<sign>-)? ?{_SYMBOL}? ?(?P<sign2>-)?(?P<whole>{_GROUPS}|{_DIGIT}{{1,9}})"
    rf"(?:[.,](?P<cents>{_DIGIT}{{2}}))(?P<after>-?)(?![\d%]|[.,]\d|[a-z]{{2}})"
)
_WHOLE = re.compile(
    rf"(?<!\w)(?P<sign>-)?{_SYMBOL} ?(?P<sign2>-)?(?P<whole>{_GROUPS}|\d{{1,9}})(?P<after>-?)(?![\d%]|[.,]\d|[a-z]{{2}})"
)
_BARE = re.compile(rf"(?<![\w.,])(?P<sign>-)?(?P<whole>{_GROUPS}|\d{{1,9}})(?![\w%]|[.,]\d)")
_BROKEN = re.compile(r"(?<![\w.,])(?P<sign>-)?(?P<whole>\d{1,6})(?P<point>[ \-·:'_]{0,2})(?P<cents>\d{2})(?![\w%])")
_LOOKALIKES = str.maketrans("OoIlB", "00118")

_CURRENCIES = (
    (re.compile(r"\bRM ?\d|\bR[HN] ?\d+\.\d\d|\(RM\)|\bRM\b|\bMYR\b|RINGGIT"), "MYR"),
    (re.compile(r"\bS\$|\bSGD\b"), "SGD"),
    (re.compile(r"\bA\$|\bAUD\b"), "AUD"),
    (re.compile(r"\bHK\$|\bHKD\b"), "HKD"),
    (re.compile(r"\bC\$|\bCAD\b"), "CAD"),
    (re.compile(r"€|\bEUR\b|\bEURO\b"), "EUR"),
    (re.compile(r"£|\bGBP\b"), "GBP"),
    (re.compile(r"\bCHF\b"), "CHF"),
    (re.compile(r"₹|\bINR\b|\bRS\.? ?\d"), "INR"),
    (re.compile(r"₩|\bKRW\b"), "KRW"),
    (re.compile(r"\bCNY\b|\bRMB\b|元"), "CNY"),
    (re.compile(r"[¥￥円]|\bJPY\b"), "JPY"),
    (re.compile(r"\bIDR\b|\bRP\.? ?\d"), "IDR"),
    (re.compile(r"\bTHB\b|฿"), "THB"),
    (re.compile(r"\bPHP\b|₱"), "PHP"),
    (re.compile(r"\bUSD\b|\bUS\$|(?<![A-Z])\$"), "USD"),
)


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount and where it stands in its text; `guessed` when its decimal point was not read at all."""

    value: Decimal
    start: int
    end: int
    guessed: bool = False


def amounts(text: str) -> list[Amount]:
    """The amounts of a text that are written as such: with two decimals, or behind a currency."""
    found = [_build_amount(match) for match in _AMOUNT.finditer(text) if _is_numeric(match)]
    whole = [_build_amount(match) for match in _WHOLE.finditer(text)]
    found += [each for each in whole if all(each.end <= other.start or each.start >= other.end for other in found)]
    return sorted(found, key=lambda each: each.start)


def whole_amounts(text: str) -> list[Amount]:
    """The whole numbers of a text, for documents that count in whole units."""
    return [_build_amount(match) for match in _BARE.finditer(text)]


def broken_amounts(text: str) -> list[Amount]:
    """Amounts whose decimal point was misread: "7-40", "27 00", and guessed, "170" for 1.70."""
    return [_build_amount(match) for match in _BROKEN.finditer(text)]


def find_currency(document: OcrDocument) -> str | None:
    """The ISO 4217 code of the currency that is named most often."""
    ranks = [(rank, -place, code) for place, (code, rank) in enumerate(rank_currencies(document))]
    return max(ranks)[2] if ranks else None


def rank_currencies(document: OcrDocument) -> list[tuple[str, float]]:
    """The currencies that are named, with ranks that grow with how often each is."""
    text = "\n".join(document.texts).upper()
    counts = [(code, len(pattern.findall(text))) for pattern, code in _CURRENCIES]
    return [(code, 1 + math.log(count)) for code, count in counts if count]


def numbers(text: str) -> Iterator[tuple[Decimal, int, int]]:
    """Every number of a text with its place: quantities and prices as well as amounts."""
    for match in re.finditer(r"(?<![\w.,/-])-?\d{1,7}(?:[.,]\d{1,4})?(?=$|[^\w.,/%]|[xX](?:$|\W))", text):
        yield Decimal(match[0].replace(",", ".")), match.start(), match.end()


def _is_numeric(match: re.Match[str]) -> bool:
    return any(each.isdigit() for each in match["whole"] + match["cents"])


def _build_amount(match: re.Match[str]) -> Amount:
    groups = match.groupdict()
    whole = re.sub(r"[,.' ]", "", groups["whole"].translate(_LOOKALIKES))
    cents = groups.get("cents")
    value = Decimal(f"{whole}.{cents.translate(_LOOKALIKES)}" if cents else whole)
    minus = groups.get("sign") or groups.get("sign2") or groups.get("after")
    return Amount(-value if minus else value, match.start(), match.end(), guessed=groups.get("point") == "")
