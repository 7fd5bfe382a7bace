"""bill: an image found in, its header and what a server would bill for it out, without decoding a pixel."""

from __future__ import annotations

from extractors.bill.cost import Tariff, costs, text_tokens
from extractors.bill.header import bill
from extractors.bill.prices import Prices

__all__ = ["Prices", "Tariff", "bill", "costs", "text_tokens"]
