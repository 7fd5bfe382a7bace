"""Things that are recognised by their form or by the label beside them: numbers of documents, phones, addresses on the web."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.dates import find_date_in, has_date
from extractors.endpoint.fill.find.labels import beside, letters
from extractors.endpoint.fill.find.money import numbers

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from extractors.endpoint.ocr.words import OcrDocument

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_WEB = re.compile(
    r"(?:https?://|www\.)[^\s\])]+|\b[\w-]+\.(?:com|org|net|io|de|co\.uk)(?:\.[a-z]{2})?(?:/\S*)?", re.IGNORECASE
)
_PHONE = re.compile(
    r"\b(?:TEL|PHONE|MOBILE|CALL|HP|H/P|T)\b[\w/]*[\s.:#-]*(\(?\+?\d[\d\s()./-]{5,14}\d)", re.IGNORECASE
)
_BARE_PHONE = re.compile(
    r"(?<![\w/-])(\(\s?\d{3}\s?\)\s?\d{3}\s?-\s?\d{4}|\+\d[\d\s()-]{7,}\d|\(?0\d{1,4}\)?[ -]\d[\d -]{5,}\d)(?![\w/])"
)
_TIME = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\s*([AaPp][Mm])?")
_KINDS = (
    "INVOICE",
    "RECEIPT",
    "ORDER",
    "BILL",
    "DOC",
    "INV",
    "CHECK",
    "CHK",
    "REF",
    "TRANSACTION",
    "TRN",
    "ACCOUNT",
    "RECHNUNG",
)
_CODE = re.compile(r"[A-Z0-9][A-Z0-9/#._-]*\d[A-Z0-9/#._-]*", re.IGNORECASE)
_STOPS = frozenset(
    {"THE", "OF", "A", "AN", "AS", "IN", "IS", "AND", "OR", "ID", "NO", "NUMBER", "NAME", "VALUE", "TEXT", "CODE"}
)


def find_email(document: OcrDocument) -> str | None:
    """The first e-mail address."""
    return _first(_EMAIL, document)


def find_url(document: OcrDocument) -> str | None:
    """The first address on the web."""
    return _first(_WEB, document)


def find_phone(document: OcrDocument) -> str | None:
    """The first telephone number: one with a label, else one that looks like it."""
    for pattern in (_PHONE, _BARE_PHONE):
        for text in document.texts:
            if (match := pattern.search(text)) and not has_date(match[1]):
                return match[1].strip()
    return None


def find_time(document: OcrDocument) -> str | None:
    """The first time of day, as HH:MM:SS."""
    for text in document.texts:
        if match := _TIME.search(text):
            hour = int(match[1]) % 12 + 12 * (match[4].upper() == "PM") if match[4] else int(match[1])
            return f"{hour:02}:{match[2]}:{match[3] or '00'}"
    return None


def find_number(document: OcrDocument, name: str) -> str | None:
    """The number of a document, by the kind that the field's name tells: of the invoice, the receipt, the order."""
    wanted = [each for each in _KINDS if each in name.upper()] or list(_KINDS)
    kinds = [*wanted, *(each for each in _KINDS if each not in wanted and not {"ORDER", "ACCOUNT"} & {*wanted, each})]
    for kind in kinds:
        label = re.compile(rf"(?:\b|TAX){kind}[A-Z]*\s*(?:(?:NO|NUMBER|NR|NUM|ID)\b|[#:])[\s.:#\[(]*", re.IGNORECASE)
        for value in beside(document, label):
            if (match := _CODE.search(value[:40])) and not has_date(match[0]):
                return match[0].rstrip(".-/")
    return None


def find_labelled(document: OcrDocument, name: str) -> str | None:
    """What stands beside a label that reads like the field's own name."""
    words = [each for each in re.split(r"[\W_]+", name.upper()) if each and each not in _STOPS]
    if not words:
        return None
    label = re.compile(
        r"\b" + r"\W{0,3}".join(map(re.escape, words)) + r"\b(?:\s*(?:NO|NUMBER|ID|NAME)\b)?\s*[.:#=]*", re.IGNORECASE
    )
    return next((value for value in beside(document, label) if letters(value) or any(map(str.isdigit, value))), None)


def find_labelled_date(document: OcrDocument, name: str) -> date | None:
    """The date beside a label that reads like the field's own name."""
    found = find_labelled(document, re.sub(r"\b(?:date|of|on|until|by)\b", "", name).strip() or name)
    return find_date_in(found) if found else None


def find_labelled_number(document: OcrDocument, name: str) -> Decimal | None:
    """The number beside a label that reads like the field's own name."""
    found = find_labelled(document, name)
    return next((value for value, _, _ in numbers(found)), None) if found else None


def _first(pattern: re.Pattern[str], document: OcrDocument) -> str | None:
    found = (pattern.search(text) for text in document.texts)
    return next((match[0].rstrip(".,;") for match in found if match), None)
