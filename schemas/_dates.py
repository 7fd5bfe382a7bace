"""A date in any usual writing in, a `date` out; what cannot be a document's date is refused with a `ValueError`."""

import re
import unicodedata
from datetime import UTC, date, datetime

EARLIEST = date(1970, 1, 1)
YEARS_AHEAD = 2  # a due date or a validity may lie ahead; more than this is a misread year

# Beginnings of month names after accents are dropped: English, German, French, Spanish, Italian, Portuguese, Dutch, Malay.
# Finnish November begins like March.
_MONTHS = {
    1: ("jan", "ene", "gen"),
    2: ("feb", "fev"),
    3: ("mar", "mrz", "mrt", "mac", "maa"),
    4: ("apr", "avr", "abr"),
    5: ("may", "mai", "maj", "mei", "mag"),
    6: ("jun", "juin", "giu"),
    7: ("jul", "juil", "lug"),
    8: ("aug", "aou", "ago", "agu", "ogo"),
    9: ("sep", "set"),
    10: ("oct", "okt", "ott", "out"),
    11: ("nov", "marr"),
    12: ("dec", "dez", "dic", "dis", "des"),
}
_BEGINNINGS = {beginning: month for month, beginnings in _MONTHS.items() for beginning in beginnings}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SILENT = frozenset({"st", "nd", "rd", "th", "of", "de", "del", "date", "er", "uhr", "年", "月", "日"})
_TIME = re.compile(
    r"(?:(?<=\d)T|\b)\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[ap]\.?m\b\.?)?\s*(?:z\b|utc\b|gmt\b|[+-]\d{2}:?\d{2}\b)?",
    re.IGNORECASE,
)
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PARTS = re.compile(r"\d+|[^\W\d_]+")
_BETWEEN = re.compile(r"[\s\-./,:'()]*")


def read_date(text: str, today: date | None = None) -> date:
    """Read one date: day first where that is ambiguous, month first where the second number is above 12."""
    today = today or datetime.now(UTC).date()
    parts = text.split("-") if _ISO_DAY.fullmatch(text) else _split(text)
    try:
        return plausible(_assemble(parts, today), today)
    except ValueError as error:
        raise ValueError(f"not a date: {text!r} ({error})") from error


def _split(text: str) -> list[str]:
    """The numbers and the months of a date, without what else may stand beside them."""
    plain = _TIME.sub(" ", unicodedata.normalize("NFKC", text))
    parts = [part for part in map(_part, _PARTS.findall(plain)) if part]
    if not _BETWEEN.fullmatch(_PARTS.sub("", plain)):
        raise ValueError(f"not a date: {text!r}")
    return parts


def plausible(day: date, today: date | None = None) -> date:
    """Refuse a day before 1970 or more than two years ahead: a document that is read today does not carry it."""
    today = today or datetime.now(UTC).date()
    if day < EARLIEST:
        raise ValueError(f"{day} is before {EARLIEST.year}")
    if (day.year - YEARS_AHEAD, day.month, day.day) > (today.year, today.month, today.day):
        raise ValueError(f"{day} is more than {YEARS_AHEAD} years ahead")
    return day


def _part(word: str) -> str:
    """Give a number as it stands, a month's name as `m<number>`, and nothing for words that say no date."""
    if word.isdigit():
        return word
    low = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))
    if low in _SILENT or low.startswith(_WEEKDAYS):
        return ""
    month = _BEGINNINGS.get(low[:4]) or _BEGINNINGS.get(low[:3])
    if month is None:
        raise ValueError(f"not a date: {word!r} is no month")
    return f"m{month}"


def _assemble(parts: list[str], today: date) -> date:
    named = [part for part in parts if part.startswith("m")]
    numbers = [part for part in parts if part.isdigit()]
    if max(map(len, numbers), default=0) > 8:
        raise ValueError("a number has too many digits")
    match named, numbers:
        case [], [digits] if len(digits) == 8:
            return _from_eight(digits)
        case [], [first, second, third]:
            return _from_numbers(first, second, third, today)
        case [month], [day, year]:
            day, year = (year, day) if len(day) == 4 else (day, year)
            return date(_year(year, today), int(month[1:]), int(day))
    raise ValueError("expected a day, a month and a year")


def _from_numbers(first: str, second: str, third: str, today: date) -> date:
    if len(first) == 4 or int(first) > 31:
        return date(_year(first, today), int(second), int(third))
    day, month = (int(second), int(first)) if int(second) > 12 else (int(first), int(second))
    return date(_year(third, today), month, day)


def _from_eight(digits: str) -> date:
    """Read `20181225`, else `25122018`."""
    if 1970 <= int(digits[:4]) < 2100:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    return date(int(digits[4:]), int(digits[2:4]), int(digits[:2]))


def _year(digits: str, today: date) -> int:
    """Read two digits as the latest such year that a document may carry."""
    if len(digits) == 4:
        return int(digits)
    if len(digits) != 2:
        raise ValueError(f"{digits!r} is no year")
    year = today.year - today.year % 100 + int(digits)
    return year if year <= today.year + YEARS_AHEAD else year - 100
