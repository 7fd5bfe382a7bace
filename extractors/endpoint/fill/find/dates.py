"""Dates in the usual writings, also where the reader lost a space: "22Mar 1812:44", "30/01/20181448:23"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.labels import letters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.endpoint.ocr.words import OcrDocument

# A year of two digits may have the time glued to it; four digits that begin with 19 or 20 win, unless a colon shows
# that the last two belong to the time.
_YEAR = r"(?P<y>(?:19|20)\d\d(?!:\d)|\d\d(?!\d|[.,]\d\d)|\d\d(?=\d\d?:\d\d))"
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "JAN ENE GEN",
            "FEB FEV",
            "MAR MRZ MAC",
            "APR AVR ABR",
            "MAY MAI MEI MAG",
            "JUN JUIN GIU",
            "JUL JUIL LUG",
            "AUG AOU AGO OGO",
            "SEP SET",
            "OCT OKT OTT",
            "NOV",
            "DEC DEZ DIC DIS",
        ),
        start=1,
    )
    for name in names.split()
}
_NAME = rf"(?P<m>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})[A-Z]{{0,7}}"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<s>[-/.])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)(?![\d]{3})",
        r"(?P<y>(?:19|20)\d\d) ?[年년] ?(?P<m>\d\d?) ?[月월] ?(?P<d>\d\d?)",
        rf"(?<![\d.,])(?P<d>\d\d?) ?(?P<s>[-/.]) ?(?P<m>\d\d?) ?(?P=s) ?{_YEAR}",
        rf"(?<!\d)(?P<d>\d\d?)(?:ST|ND|RD|TH)?[ \-./,]*{_NAME}[ \-./,']*{_YEAR}",
        rf"(?<![A-Z]){_NAME}[ .]*(?P<d>\d\d?)(?:ST|ND|RD|TH)?[ ,.]+(?P<y>(?:19|20)\d\d)",
        r"(?<!\d)(?P<d>\d\d)/?(?P<m>\d\d)/(?P<y>20\d\d)",  # a slash was lost
    )
)
_ISSUED = re.compile(r"DATE|DATUM|FECHA|DATA|TARIKH|ISSUED|INVOICED|日期")
_DUE = re.compile(r"DUE|PAYBY|PAYABLEBY|FALLIG|FAELLIG|VENCIMIENTO|ECHEANCE|SCADENZA")
_OTHER = re.compile(r"EXPIR|VALID|RETURN|BIRTH|DOB|DELIVER|SHIP|PRINTED|WITHIN|BESTBEFORE")
_TIME = re.compile(r"\d\d?:\d\d")
_SWAPPED = 3  # how much less likely a date is with the month first than with the day first


@dataclass(frozen=True, slots=True)
class Dated:
    """A date as it is written, and what is written around it.

    `swapped` is what it would be with its month first, where both are dates; `american` when only that is one.
    """

    day: date
    swapped: date | None
    american: bool
    label: str
    timed: bool
    written: str = ""


def find_date(document: OcrDocument, *, due: bool = False) -> date | None:
    """The date that a document was issued on, or the one by which it is due."""
    ranks = rank_dates(document, due=due)
    best = max((rank for _, rank in ranks), default=0)
    return next(day for day, rank in ranks if rank == best) if best > 0 else None


def rank_dates(document: OcrDocument, *, due: bool = False) -> list[tuple[date, float]]:
    """The dates that may be that one, in reading order, with their ranks; and what they are with day and month swapped."""
    found = list(iter_dates(document))
    american = any(each.american for each in found)
    ranks: list[tuple[date, float]] = []
    for each in found:
        days = [each.day] if each.swapped is None else [each.day, each.swapped]
        first, *others = reversed(days) if american else days
        score = _score(each, due=due)
        ranks += [(first, score), *((other, score - _SWAPPED) for other in others)]
    return ranks


def iter_dates(document: OcrDocument) -> Iterator[Dated]:
    """Every date, once for each place where it stands."""
    before = ""
    for text in document.texts:
        capitals = text.upper()
        for pattern in _PATTERNS:
            for match in pattern.finditer(capitals):
                read = _parse_match(match)
                if read is not None:
                    label = letters(capitals[: match.start()]) or letters(before)
                    yield Dated(*read, label, bool(_TIME.search(capitals[match.end() - 2 :])), match[0])
        before = capitals


def find_written(document: OcrDocument, day: date) -> str | None:
    """How a date is written where it stands first."""
    return next((each.written for each in iter_dates(document) if day in (each.day, each.swapped)), None)


def find_date_in(text: str) -> date | None:
    """The first date of a text, day first."""
    found = (_parse_match(match) for pattern in _PATTERNS for match in pattern.finditer(text.upper()))
    return next((each[0] for each in found if each), None)


def has_date(text: str) -> bool:
    """Whether a text holds a date."""
    return find_date_in(text) is not None


def _parse_match(match: re.Match[str]) -> tuple[date, date | None, bool] | None:
    """The date, day first; what it is with the month first; and if it can only be that."""
    written = match["m"]
    year = int(match["y"])
    year += 0 if year >= 100 else 2000 if year < 70 else 1900
    first, second = int(match["d"]), _MONTHS.get(written) or int(written)
    straight, swapped = _build_date(year, second, first), _build_date(year, first, second)
    dotted = match.groupdict().get("s") == "."  # dates with dots never begin with the month
    if dotted or not written.isdigit() or match.start("y") < match.start("d"):
        return (straight, None, False) if straight else None
    if straight is None:
        return (swapped, None, True) if swapped else None
    return straight, swapped, False


def _build_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _score(found: Dated, *, due: bool) -> int:
    near = found.label[-24:]
    if due:
        return 3 if _DUE.search(near) else 0
    if _DUE.search(near) or _OTHER.search(near):
        return 0
    return 1 + 3 * bool(_ISSUED.search(near)) + found.timed
