"""Dates in a text, in any usual writing and order; a date that can be read in two orders is both.

| written | read as |
|---|---|
| `29/01/2018` `29.1.18` `29-01-2018` `01/29/2018` `2018-01-29` `2018/01/29` `29 01 2018` | 29 January 2018 |
| `29 Jan 2018` `29JAN18` `Jan 29, 2018` `29. Januar 2018` `29 de enero de 2018` `2018 Jan 29` | 29 January 2018 |
| `2018年1月29日` `2018년 1월 29일` `20180129` `29012018` | 29 January 2018 |
| `30/01/20181448:23` `22Mar 1812:44` | 30 January 2018 and 22 March 2018: OCR has lost the space before the time |
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Beginnings of the names of months without accents: English, German, French, Spanish, Italian, Portuguese, Dutch, Malay, Indonesian,
# Scandinavian, Hungarian, Polish, Czech, Turkish, Finnish, Russian.
_BEGINNINGS = (
    "jan ene gen sty oca led tam янв",
    "feb fev lut sub uno hel фев",
    "mar mrz mrt mac maa bre мар",
    "apr avr abr kwi nis dub huh апр",
    "may mai mei mag maj kve tou мая маи",
    "jun juin giu cze haz cer kes июн",
    "jul juil lug lip tem cervenc hei июл",
    "aug aou ago ogo agu sie srp elo авг",
    "sep set szep wrz eyl zar syy сен",
    "oct okt ott out paz eki rij lok окт",
    "nov lis kas marras ноя",
    "dec dez dic dis des gru ara pro jou дек",
)
_MONTHS = {name: month for month, names in enumerate(_BEGINNINGS, start=1) for name in names.split()}
_NAME = rf"(?P<name>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})[^\W\d_]{{0,10}}"
_YEAR = r"(?P<y>(?:19|20)\d\d(?!:\d)|\d\d(?!\d|[.,]\d\d)|\d\d(?=\d\d?:\d\d))"
_DAY, _ORDINAL, _GAP = r"(?P<d>\d\d?)", r"(?:st|nd|rd|th|er)?", r"[\s\-./,]*(?:de |del |of )?"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<y>(?:19|20)\d\d)\s?(?P<s>[-/.])\s?(?P<m>\d\d?)\s?(?P=s)\s?(?P<d>\d\d?)(?!\d{3})",
        r"(?<!\d)(?P<y>(?:19|20)?\d\d) ?[年년] ?(?P<m>\d\d?) ?[月월] ?(?P<d>\d\d?)",
        rf"(?<![\d.,])(?P<d>\d\d?)\s?(?P<s>[-/.])\s?(?P<m>\d\d?)\s?(?P=s)\s?{_YEAR}",
        r"(?<![\d.,/])(?P<d>\d\d) (?P<m>\d\d) (?P<y>(?:19|20)\d\d)(?!\d)",
        rf"(?<!\d){_DAY}{_ORDINAL}{_GAP}{_NAME}[\s\-./,']*(?:de |del |of )?{_YEAR}",
        rf"(?<![^\W\d_]){_NAME}[\s.\-/]*{_DAY}{_ORDINAL}[\s,.\-/']+{_YEAR}",
        rf"(?<!\d)(?P<y>(?:19|20)\d\d)[\s\-./,]*{_NAME}[\s\-./,]*{_DAY}(?!\d)",
        r"(?<![\d.,/-])(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?!\d|[.,]\d)",
        r"(?<![\d.,/-])(?P<d>\d\d)/?(?P<m>\d\d)/?(?P<y>(?:19|20)\d\d)(?!\d|[.,]\d)",
    )
)


class DatePlace(NamedTuple):
    """A date where it stands in a text."""

    value: date
    start: int
    end: int


def iter_dates(text: str) -> Iterator[DatePlace]:
    """Every date of a text, once for each way to read it."""
    plain = _drop_accents(text)
    for pattern in _PATTERNS:
        for match in pattern.finditer(plain):
            for day in _read_match(match.groupdict()):
                yield DatePlace(day, match.start(), match.end())


def _drop_accents(text: str) -> str:
    """The text in lower case without accents, and as long as before."""
    return "".join(_drop_accent(character).lower()[:1] or " " for character in text)


def _drop_accent(character: str) -> str:
    """The letter below an accent; a syllable of Hangul, which has several letters, stays."""
    letters = unicodedata.normalize("NFD", character)
    return letters[0] if all(map(unicodedata.combining, letters[1:])) else character


def _read_match(parts: dict[str, str | None]) -> set[date]:
    """The dates that the day, month and year of a match can be; two digits are a year of this century or the last."""
    year, day = parts["y"] or "", int(parts["d"] or 0)
    name, written = parts.get("name"), parts.get("m")
    month = _MONTHS[name] if name else int(written or 0)
    readings = {(century + int(year), month, day) for century in ((0,) if len(year) == 4 else (2000, 1900))}
    if not name:
        readings |= {(whole, other, number) for whole, number, other in readings}
        if len(year) == 2 and len(parts["d"] or "") == 2:
            readings |= {(2000 + day, month, int(year)), (1900 + day, month, int(year))}
    return set(_build_dates(readings))


def _build_dates(readings: set[tuple[int, int, int]]) -> Iterator[date]:
    for reading in readings:
        with suppress(ValueError):
            yield date(*reading)
