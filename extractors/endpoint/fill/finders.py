"""The finder for each kind of field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.codes import find_email, find_labelled_number, find_phone, find_time, find_url
from extractors.endpoint.fill.find.dates import find_date
from extractors.endpoint.fill.find.money import find_currency
from extractors.endpoint.fill.find.names import find_address, find_company, find_customer, find_customer_address
from extractors.endpoint.fill.find.prose import different, list_shared_lines, one_by_one, sentence, tags
from extractors.endpoint.fill.find.tables import find_table, find_title
from extractors.endpoint.fill.find.totals import find_amount, find_subtotal, find_tax, find_total

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from decimal import Decimal

    from extractors.endpoint.ocr.words import OcrDocument


def _find_due_date(document: OcrDocument) -> date | None:
    return find_date(document, due=True)


def _find_title(document: OcrDocument) -> str | None:
    table = find_table(document)
    return table.title if table and table.title else find_title(document)


def _find_columns(document: OcrDocument) -> list[str]:
    table = find_table(document)
    return table.columns if table else []


def _find_rows(document: OcrDocument) -> list[list[str]]:
    table = find_table(document)
    return table.rows if table else []


def _find_lines(document: OcrDocument) -> list[str]:
    return list(document.parts)


def _find_named_number(document: OcrDocument, name: str) -> Decimal | None:
    amount = find_amount(document, name)
    return amount if amount is not None else find_labelled_number(document, name)


TEXTS: Mapping[str, Callable[[OcrDocument], str | date | None]] = {
    "address": find_address,
    "company": find_company,
    "currency": find_currency,
    "customer": find_customer,
    "customer_address": find_customer_address,
    "date": find_date,
    "different": lambda document: "\n".join(different(document)),
    "due_date": _find_due_date,
    "email": find_email,
    "phone": find_phone,
    "sentence": sentence,
    "shared": lambda document: "\n".join(list_shared_lines(document)),
    "text": lambda document: "\n".join(document.texts),
    "time": find_time,
    "title": _find_title,
    "url": find_url,
}
NUMBERS: Mapping[str, Callable[[OcrDocument, str], Decimal | None]] = {
    "": _find_named_number,
    "subtotal": lambda document, _: find_subtotal(document),
    "tax": lambda document, _: find_tax(document),
    "total": lambda document, _: find_total(document),
}
LISTS: Mapping[str, Callable[[OcrDocument], list[str] | list[list[str]]]] = {
    "": _find_lines,
    "columns": _find_columns,
    "different": different,
    "each": one_by_one,
    "shared": list_shared_lines,
    "table_rows": _find_rows,
    "tags": tags,
}
