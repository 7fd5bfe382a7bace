"""What the signals of the witness add: the score of documents that it has looked at, and what is certain by that score.

Which documents climb is decided before the witness looks. So ladder and threshold are those of the score without its signals, and
the documents that they publish are scored again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.run.tune.certificate import certify_published
from extractors.run.tune.choices import score_again
from extractors.run.tune.dollars import find_cheapest, sort_published
from extractors.run.tune.ranking import rank_all
from extractors.run.tune.score_fit import fit_witnessed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.report.tuning.review_costs import ReviewCost, ReviewPrices
    from extractors.run.tune.certificate import CertificateResult
    from extractors.run.tune.choices import LabelledReadings
    from extractors.run.tune.ranking import Ranking
    from extractors.run.tune.recommendation import Recommendation
    from extractors.run.tune.score_fit import ScoreFit


@dataclass(frozen=True, slots=True)
class WitnessedAnalysis:
    """The score with signals of the witness, and what the recommended choice is worth by it.

    `review` is None where no prices were given.
    """

    fit: ScoreFit
    certificate: CertificateResult
    ranking: Ranking
    review: ReviewCost | None = None


def analyze_witnessed(
    documents: Sequence[LabelledReadings],
    without: ScoreFit,
    recommendation: Recommendation,
    target: float,
    prices: ReviewPrices | None = None,
) -> WitnessedAnalysis | None:
    """Fits, certifies and ranks; None where the signals of the witness rank no better than the score without them."""
    fit = fit_witnessed(documents, without)
    if fit is None:
        return None
    held_out = [score_again(each, fit.scorer()) for each in recommendation.held_out]
    published = [score_again(each, fit.scorer()) for each in recommendation.published]
    review = find_cheapest(sort_published(published), prices) if prices else None
    return WitnessedAnalysis(fit, certify_published(held_out, target), rank_all(held_out), review)


def is_looked_at(documents: Sequence[LabelledReadings]) -> bool:
    """Whether the witness has judged a value of these documents."""
    return any(each.seen is not None for document in documents for read in document.readings for each in read.evidence)
