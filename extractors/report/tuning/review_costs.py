"""What a tuning's choices cost with reviews and wrong rows: for the terminal, `--json` and the page."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from extractors.core.money import NANO, dollars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class ReviewView:
    """Documents with a review of those below a threshold; `review_below` None: all are reviewed, or thresholds differ.

    `slipped` counts the wrong ones among the others. The dollars are of all documents together.
    """

    documents: int
    reviewed: int
    slipped: int
    calls_usd: float
    review_usd: float
    error_usd: float
    usd_a_right_row: float | None
    review_below: float | None = None

    @property
    def usd_a_document(self) -> float:
        """Calls, reviews and wrong rows of one document."""
        return (self.calls_usd + self.review_usd + self.error_usd) / self.documents

    def as_json(self) -> dict[str, object]:
        """The object `review` of a choice in `--json`."""
        right = self.usd_a_right_row
        return {
            "review_below": self.review_below,
            "documents": self.documents,
            "reviewed": self.reviewed,
            "slipped": self.slipped,
            "calls_usd": round(self.calls_usd, 9),
            "review_usd": round(self.review_usd, 9),
            "error_usd": round(self.error_usd, 9),
            "usd_a_document": round(self.usd_a_document, 9),
            "usd_a_right_row": None if right is None else round(right, 9),
        }

    @property
    def counts(self) -> str:
        """How many are reviewed, and how many wrong ones are not."""
        return f"{self.reviewed:,} of {self.documents:,} documents reviewed, {self.slipped:,} wrong among the others"

    @property
    def words(self) -> str:
        """The threshold and the counts."""
        if self.review_below is not None:
            return f"review below {self.review_below:.4f}: {self.counts}"
        return "review every document" if self.reviewed == self.documents else self.counts


@dataclass(frozen=True, slots=True)
class DollarsView:
    """The two prices, the recommended choice with its threshold, and what to expect of other documents.

    `expected` is None where nothing was chosen by cross-validation. `curve` has the share of documents that are reviewed,
    and the dollars a document, at every threshold of the recommended choice.
    """

    review_cost: float
    error_cost: float
    chosen: ReviewView
    expected: ReviewView | None = None
    curve: Sequence[tuple[float, float]] = ()

    def as_json(self) -> dict[str, object]:
        """The object `dollars` of `--json`."""
        return {
            "review_cost": self.review_cost,
            "error_cost": self.error_cost,
            "chosen": self.chosen.as_json(),
            "expected": self.expected.as_json() if self.expected else None,
        }

    @property
    def title(self) -> str:
        """The two prices in words."""
        return f"Dollars, at {format_usd(self.review_cost)} a review and {format_usd(self.error_cost)} a wrong row"

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        best, documents = self.chosen, self.chosen.documents
        parts = {"calls": best.calls_usd, "reviews": best.review_usd, "wrong rows": best.error_usd}
        named = ", ".join(f"{name} {format_usd(amount / documents)}" for name, amount in parts.items())
        yield best.words
        yield f"{format_usd(best.usd_a_document)} a document: {named}"
        yield f"{format_usd(best.usd_a_right_row)} a right row, reviewed ones included"
        if self.expected:
            yield f"by cross-validation {format_usd(self.expected.usd_a_document)} a document:"
            yield f"  {self.expected.counts}"


def format_usd(amount: float | None) -> str:
    """Dollars as every output writes them."""
    return dollars(None if amount is None else Decimal(str(amount)).quantize(NANO))
