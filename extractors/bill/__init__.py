"""bill: a file found in, its pages with their headers and what a server would bill for each out, no pixel decoded."""

from __future__ import annotations

from extractors.bill.notes import NoteCounts
from extractors.bill.pages import count_pages, read_pages, reject_page_count
from extractors.bill.tariff import Tariff, estimate_costs, estimate_text_tokens

__all__ = [
    "NoteCounts",
    "Tariff",
    "count_pages",
    "estimate_costs",
    "estimate_text_tokens",
    "read_pages",
    "reject_page_count",
]
