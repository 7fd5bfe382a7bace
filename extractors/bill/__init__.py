"""bill: a file found in, its pages with their headers and what a server would bill for each out, no pixel decoded."""

from __future__ import annotations

from extractors.bill.pages import pages, too_many
from extractors.bill.tariff import Tariff, costs, text_tokens

__all__ = ["Tariff", "costs", "pages", "text_tokens", "too_many"]
