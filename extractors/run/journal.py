"""DocumentJournal: prices every attempt at a document, and records it in the ledger before it counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from extractors.core.call_counts import count_call
from extractors.core.money import Price, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from extractors.core import Attempt, CallRequest, Prepared, Quality
    from extractors.core.call_counts import CallCounts
    from extractors.record.ledger.writer import LedgerWriter


@dataclass(slots=True)
class DocumentJournal:
    """The attempts of one document in the order in which they ended, after `earlier` ones; a `Journal`.

    `on_calls` takes the counts of each attempt as soon as it ends; `qualities` are those of its pages' pictures.
    """

    writer: LedgerWriter
    earlier: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    on_calls: Callable[[CallCounts], None] = lambda _: None
    qualities: tuple[Quality | None, ...] = ()
    _reserved: Decimal | None = None  # of the attempt in progress: a document has one at a time

    def note_qualities(self, prepared: Sequence[Prepared]) -> None:
        """Keeps the quality of each page's picture, of the first one that was measured."""
        known = self.qualities or (None,) * len(prepared)
        pages = zip(known, prepared, strict=True)
        self.qualities = tuple(page.quality if quality is None else quality for quality, page in pages)

    def reserve(self, request: CallRequest) -> Awaitable[int | None]:
        """Records the attempt and its maximum cost, which the budget must have room for."""
        price, most = self.writer.run_info.price, request.worst_prompt_tokens
        self._reserved = None
        if price is not None and most is not None:
            self._reserved = price.cost(Usage(prompt=most, completion=request.max_tokens))
        return self.writer.reserve(request, self.earlier + len(self.attempts) + 1, self._reserved)

    def settle(self, handle: int, attempt: Attempt) -> Awaitable[None]:
        """Records how the attempt ended, and its cost."""
        cost = _cost_of(attempt, self.writer.run_info.price)
        priced = replace(attempt, cost_usd=cost, reserved_usd=self._reserved)
        self.on_calls(count_call(priced, self.attempts[-1] if self.attempts else None))
        self.attempts.append(priced)
        return self.writer.settle(handle, priced)


def _cost_of(attempt: Attempt, price: Price | None) -> Decimal | None:
    """The cost of this attempt: 0 when it was not billed, None when the bill or the price is unknown."""
    if attempt.billed == "no":
        return Decimal(0)
    if attempt.usage is None or price is None or attempt.billed == "unknown":
        return None
    return price.cost(attempt.usage)
