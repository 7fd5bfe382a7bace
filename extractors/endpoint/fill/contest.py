"""How contested the finding of a value was: whether the picture has one at all, and how near the next best came.

Each candidate has the rank by which its finder chose. A rank weighs as much as its exponential; that the picture has none
of them weighs as much as rank 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.dates import rank_dates
from extractors.endpoint.fill.find.money import rank_currencies
from extractors.endpoint.fill.find.names import rank_addresses, rank_companies
from extractors.endpoint.fill.find.totals import rank_subtotals, rank_taxes, rank_totals, rank_unlabelled

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from extractors.endpoint.ocr.words import OcrDocument

    Ranks = Iterable[tuple[Hashable, float]]

_RANKS: Mapping[str, Callable[[OcrDocument], Ranks]] = {
    "address": rank_addresses,
    "company": rank_companies,
    "currency": rank_currencies,
    "date": rank_dates,
    "due_date": lambda document: rank_dates(document, due=True),
    "subtotal": rank_subtotals,
    "tax": rank_taxes,
    "total": lambda document: rank_totals(document) or rank_unlabelled(document),
}


@dataclass(frozen=True, slots=True)
class Contest:
    """Probabilities: that the picture has such a value, and that it is the one that was chosen if it has."""

    present: float
    chosen: float


def judge_contest(kind: str, document: OcrDocument) -> Contest | None:
    """The contest for a field of this kind; None for a kind whose finder takes the first that it sees."""
    rank = _RANKS.get(kind)
    if rank is None:
        return None
    best: dict[Hashable, float] = {}
    for value, number in rank(document):
        best[value] = max(number, best.get(value, number))
    weights = [math.exp(number) for number in best.values()]
    total = math.fsum(weights)
    return Contest(total / (total + 1), max(weights) / total if weights else 1.0)
