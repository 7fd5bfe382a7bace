"""What a tuning's choices cost with reviews and wrong rows: for the terminal, `--json` and the page."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.money import NANO, dollars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class ReviewPrices(NamedTuple):
    """What a person's look at one document costs, and what a wrong row costs that slips through, in dollars."""

    review: float
    error: float


class ReviewCost(NamedTuple):
    """What documents cost with a review of those below a threshold; `review_below` None: all of them are reviewed.

    `slipped` counts the wrong ones that are not reviewed; `slipping` is how many of them are to be expected.
    """

    documents: int
    calls_usd: float
    prices: ReviewPrices
    reviewed: int
    slipped: int = 0
    slipping: float = 0.0
    review_below: float | None = None

    @property
    def review_usd(self) -> float:
        """What the reviews cost."""
        return self.prices.review * self.reviewed

    @property
    def error_usd(self) -> float:
        """What the wrong rows cost that are to be expected."""
        return self.prices.error * self.slipping

    @property
    def total_usd(self) -> float:
        """Calls, reviews and wrong rows together."""
        return self.calls_usd + self.review_usd + self.error_usd

    @property
    def usd_a_document(self) -> float:
        """The total by document."""
        return self.total_usd / self.documents

    @property
    def usd_a_right_row(self) -> float | None:
        """The total by right row; None where none is to be expected."""
        right = self.documents - self.slipping
        return self.total_usd / right if right > 0 else None

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
    """The recommended choice with its prices and threshold, and what to expect of other documents.

    `expected` is None where nothing was chosen by cross-validation. `curve` has the share of documents that are reviewed,
    and the dollars a document, at every threshold of the recommended choice.
    """

    chosen: ReviewCost
    expected: ReviewCost | None = None
    curve: Sequence[tuple[float, float]] = ()

    def as_json(self) -> dict[str, object]:
        """The object `dollars` of `--json`."""
        return {
            "review_cost": self.chosen.prices.review,
            "error_cost": self.chosen.prices.error,
            "chosen": self.chosen.as_json(),
            "expected": self.expected.as_json() if self.expected else None,
        }

    @property
    def title(self) -> str:
        """The two prices in words."""
        review, error = self.chosen.prices
        return f"Dollars, at {format_usd(review)} a review and {format_usd(error)} a wrong row"

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
