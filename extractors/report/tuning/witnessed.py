"""What a tuning shows of the witness: for the terminal, `--json` and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.report.tuning import CertificateView, ConfidenceView
    from extractors.report.tuning.review_costs import ReviewCost

TITLE = "With the witness, for runs with --witness all"


@dataclass(frozen=True, slots=True)
class WitnessedView:
    """The score with signals of the witness; it was not stored, as they add nothing, where `certificate` and `confidence` are None."""

    certificate: CertificateView | None = None
    confidence: ConfidenceView | None = None
    review: ReviewCost | None = None

    def as_json(self) -> dict[str, object]:
        """The object `witnessed` of `--json`."""
        return {
            "certificate": self.certificate.as_json() if self.certificate else None,
            "confidence": self.confidence.as_json() if self.confidence else None,
            "review": self.review.as_json() if self.review else None,
        }

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        if self.certificate is None or self.confidence is None:
            yield "whether values were seen ranks errors no better than the score does without it,"
            yield "or there are too few errors to tell: --witness all changes no confidence"
            return
        yield f"all fields: {self.confidence.words}"
        yield from self.certificate.lines()
        if self.review is not None:
            yield self.review.words
