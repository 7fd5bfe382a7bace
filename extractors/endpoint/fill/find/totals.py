"""Labelled amounts: what is to pay, and the tax, the subtotal and the rest that stand around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.labels import correct_word, letters
from extractors.endpoint.fill.find.money import Amount, amounts, broken_amounts, whole_amounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from extractors.endpoint.ocr.words import Line, OcrDocument, Word

_VOCABULARY = ("TOTAL", "SUBTOTAL", "ROUNDING", "ROUNDED", "CHANGE", "CASH", "PAYABLE", "AMOUNT", "BALANCE", "JUMLAH")
_CURRENCY = re.compile(r"^(?:RM|MYR|USD|EUR|GBP|SGD|CHF|S|US)?$")
_TOTAL = re.compile(r"TOTAL|JUMLAH|SUMME|GESAMT|IMPORTE|合計|合计|总计|總計|^TL(?:RM)?$|^TTL")
_FINAL = re.compile(
    r"(?:AMOUNT|TOTAL|BALANCE)DUE|PAYABLE|TOPAY|GRANDTOTAL|NETT?TOTAL|NETT?AM(?:OUN)?T|FINALTOTAL|ZUZAHLEN"
    r"|ROUNDEDTOTAL|TOTALROUNDED|(?:TOTAL|TTL).*(?:AFTE?R?|ATF)(?:ROUND|RND)"
)
_PLAIN = re.compile(
    r"^(?:TOTAL|JUMLAH|SUMME|GESAMT|TL|TTL|合計|合计|总计|總計)(?:AMOUNT|SALES?|PRICE|RM|MYR|USD|EUR|GBP|SGD|AMT|BETRAG)*$"
)
_WITH_TAX = re.compile(r"TOTAL.*(?:INC|[IL]NCL|WITH(?:GST|TAX|VAT|SST))")
_NOT_TOTAL = re.compile(
    r"SUBTOTAL|SUBTTL|ZWISCHENSUMME|QTY|QUANTIT|QNTY|ITEM|UNITS|SAVING|DISC|EXC|BEF|SUPPLIES|POINT|CHANGE|TENDER"
    r"|INCLUDEDIN|COUNT|TAXABLE|ROUNDINGADJ|SERVICE|SRVCHG|DEPOSIT"
)
_TAX = re.compile(r"GST|VAT|TAX|SST|MWST|^UST|TVA|^IVA")
_NOT_TAX = re.compile(r"INC|[EX]XC|WITH|SUMMARY|TAXABLE|SUBTOTAL|REG|INVOICE|(?:GST|TAX|VAT|SST)(?:ID|NO)")
_SUMMARY = re.compile(r"(?:GST|TAX|VAT|SST)(?:SUMMARY|ANALYSIS|BREAKDOWN)")
_PAID = re.compile(r"^(?:RECEIVED)?(?:CASH(?!IER)|TENDER|PAID|VISA|MASTER|CARD|PAYMENT|AMOUNTPAID)")
_CHANGE = re.compile(r"CHANGE|RUCKGELD|KEMBALI")
_AFTER_ITEMS = re.compile(
    r"(?:ROUND|RND|GST(?!REG|ID)|VAT|TAX(?!INV)|SERVICE|SRVCHG|QTY|QUANTITY|ITEMS?(?:COUNT|QTY|TOTAL)|ITEMS?$)"
)

_UNLABELLED = 0.5  # the rank of what was paid less the change: below every label


@dataclass(frozen=True, slots=True)
class Labelled:
    """An amount with its label, in capital letters alone, and the number of its line.

    `broken` when its decimal point had to be repaired, `guessed` when there was none.
    """

    label: str
    value: Decimal
    line: int
    broken: bool = False
    guessed: bool = False


def iter_labelled(document: OcrDocument) -> Iterator[Labelled]:
    """Every amount, with the text before it on its line, else with the line above."""
    fallback = broken_amounts if any(map(amounts, document.texts)) else whole_amounts
    above = ""
    for number, line in enumerate(document.lines):
        broken = not amounts(line.text)
        found = list(_iter_labelled_line(line, fallback if broken else amounts, above))
        for label, amount in found:
            yield Labelled(label, amount.value, number, broken and fallback is broken_amounts, amount.guessed)
        above = _label(line.text) if not found and len(line.words) == 1 else ""


def find_total(document: OcrDocument) -> Decimal | None:
    """The amount to pay: by its label, and where that could not be read, what was paid less the change."""
    ranks = [(rank, place, value) for place, (value, rank) in enumerate(rank_totals(document))]
    return max(ranks)[2] if ranks else None  # of equals the last: a sum comes after its parts


def rank_totals(document: OcrDocument) -> list[tuple[Decimal, float]]:
    """The amounts that may be the one to pay, in reading order, with their ranks."""
    above = _above_summary(document)
    due = _find_due_amount(above, document)
    changes = [each.line for each in above if _CHANGE.search(each.label)]
    ranks = [(each.value, _rank(each, changes, due)) for each in above]
    return [*((value, rank) for value, rank in ranks if rank > 0), *([(due, _UNLABELLED)] if due is not None else [])]


def rank_unlabelled(document: OcrDocument) -> list[tuple[Decimal, float]]:
    """All amounts, any of which may be the one to pay where no label says so."""
    return [(each.value, -1.0) for each in iter_labelled(document)]


def find_subtotal(document: OcrDocument) -> Decimal | None:
    """The amount before taxes."""
    return next((value for value, _ in rank_subtotals(document)), None)


def rank_subtotals(document: OcrDocument) -> list[tuple[Decimal, float]]:
    """The amounts that may be the one before taxes, the likeliest first, with their ranks."""
    named = _all(document, re.compile(r"SUBTOTAL|SUBTTL|ZWISCHENSUMME|NETTOBETRAG"))
    return _rank_in_order([*named, *_all(document, re.compile(r"TOTAL.*EXC|BEFORETAX"))])


def find_tax(document: OcrDocument) -> Decimal | None:
    """The tax; neither a total that includes it nor the amount it is taken from."""
    return next((value for value, _ in rank_taxes(document)), None)


def rank_taxes(document: OcrDocument) -> list[tuple[Decimal, float]]:
    """The amounts that may be the tax, the likeliest first, with their ranks."""
    found = (each for each in _above_summary(document) if _TAX.search(each.label) and not _NOT_TAX.search(each.label))
    return _rank_in_order([each.value for each in found if not each.broken])


def find_amount(document: OcrDocument, name: str) -> Decimal | None:
    """The amount whose label holds the field's own name."""
    wanted = letters(name)
    return _first(document, re.compile(re.escape(wanted))) if wanted else None


def ends_items(text: str) -> bool:
    """Whether a line belongs to what follows the items: counts, totals, taxes, payment."""
    label = _label(text)
    return any(pattern.match(label) for pattern in (_TOTAL, _FINAL, _PAID, _CHANGE, _AFTER_ITEMS)) or (
        "SUBTOTAL" in label
    )


def _iter_labelled_line(line: Line, read: Callable[[str], list[Amount]], above: str) -> Iterator[tuple[str, Amount]]:
    before: list[Word] = []
    for word in line.words:
        start = 0
        for amount in read(word.text):
            own = _label(word.text[start : amount.start])
            yield (_nearest(before) or above if _CURRENCY.match(own) else own), amount
            start = amount.end
        before.append(word)


def _nearest(words: list[Word]) -> str:
    """The label that stands nearest on the left: words a small gap apart belong together."""
    found: list[Word] = []
    for word in reversed(words):
        if found and found[-1].left - word.right > word.height:
            break
        if found or not _CURRENCY.match(letters(word.text)):
            found.append(word)
    return _label(" ".join(word.text for word in reversed(found)))


def _label(text: str) -> str:
    return correct_word(text, _VOCABULARY)


def _first(document: OcrDocument, wanted: re.Pattern[str]) -> Decimal | None:
    return next(iter(_all(document, wanted)), None)


def _all(document: OcrDocument, wanted: re.Pattern[str]) -> list[Decimal]:
    return [each.value for each in iter_labelled(document) if not each.broken and wanted.search(each.label)]


def _rank_in_order(values: list[Decimal]) -> list[tuple[Decimal, float]]:
    """The values with ranks that fall from that of a plain label."""
    return [(value, 4.0 - place) for place, value in enumerate(values)]


def _above_summary(document: OcrDocument) -> list[Labelled]:
    """The labelled amounts above the table of taxes, which has totals of its own."""
    found = list(iter_labelled(document))
    end = next((number for number, text in enumerate(document.texts) if _SUMMARY.search(letters(text))), None)
    return [each for each in found if end is None or each.line < end] or found


def _rank(found: Labelled, changes: list[int], due: Decimal | None) -> float:
    """How likely this is the amount to pay; 0 when it is not."""
    label, agrees = found.label, found.value == due
    if not (_TOTAL.search(label) or _FINAL.search(label)) or _NOT_TOTAL.search(label):
        return 0
    if (_TAX.search(label) and not _WITH_TAX.search(label)) or (found.guessed and not agrees):
        return 0
    rank = 5 if _FINAL.search(label) else 4 if _PLAIN.search(label) or _WITH_TAX.search(label) else 3
    late = bool(changes) and found.line > changes[0]  # a table of taxes has totals of its own
    return rank - 2 * late - found.broken + 1.5 * agrees


def _find_due_amount(found: list[Labelled], document: OcrDocument) -> Decimal | None:
    """What was paid less the change; None when a change is written that could not be read."""
    change = [each.value for each in found if _CHANGE.search(each.label)]
    paid = [each.value for each in found if _PAID.search(each.label) and not _CHANGE.search(each.label)]
    unread = not change and any(_CHANGE.search(letters(text)) for text in document.texts)
    if not paid or unread:
        return None
    due = paid[-1] - (change[-1] if change else 0)
    return due if due > 0 else None
