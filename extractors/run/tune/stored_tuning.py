"""The tuning that `--apply` stores: ladder, thresholds, scores and certificates, for runs under the same protocol."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractors.core.tuning import Certificate, Ladder, Review, Tuning, WitnessedScore
from extractors.record.ledger import Ledger
from extractors.run.tune.analysis import rung_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core.tiles import Rule
    from extractors.report.tuning.review_costs import ReviewCost
    from extractors.run.tune.analysis import Analysis
    from extractors.run.tune.certificate import CertificateResult
    from extractors.run.tune.session import ReadingsResult
    from extractors.run.tune.witnessed import WitnessedAnalysis


def store_tuning(result: ReadingsResult, analysis: Analysis) -> None:
    """Stores what the measurements show in the ledger."""
    config, run_info, recommendation = result.session.config, result.session.run_info, analysis.recommendation
    dollars = recommendation.dollars
    tuning = Tuning(
        protocol=config.protocol,
        ladder=_build_ladder(config.rule, recommendation.choice.ladder),
        climb_below_all=recommendation.choice.climb_below,
        score=analysis.fit.score.model_dump(mode="json"),
        certificate=_build_certificate(analysis.certificate),
        review=build_review(dollars.chosen if dollars else None),
        witnessed=build_witnessed(analysis.witnessed),
        ranks=analysis.ranks,
        agreement=tuple(recommendation.agreement),
        measured_at=datetime.now(UTC),
        run=run_info.run,
    )
    with Ledger(config.settings.ledger) as ledger:  # that of the run is closed
        ledger.memory.keep_tuning(run_info.fingerprint, run_info.run, tuning.model_dump_json())


def _build_ladder(rule: Rule, chosen: Sequence[int]) -> Ladder:
    limits = rung_limits(rule)
    rungs = [limits[rung] for rung in chosen]
    if all(isinstance(rung, int) for rung in rungs):
        return Ladder(rule=rule.text, budgets=tuple(int(rung) for rung in rungs))
    return Ladder(rule=rule.text, shares=tuple(rungs))


def _build_certificate(measured: CertificateResult) -> Certificate:
    return Certificate(
        target=measured.target,
        documents=measured.labels,
        threshold=measured.threshold,
        share=measured.share,
        lower_bound=measured.bound,
    )


def build_review(cost: ReviewCost | None) -> Review | None:
    """The threshold of review that was chosen; None where no prices were given."""
    if cost is None:
        return None
    return Review(review_cost=cost.prices.review, error_cost=cost.prices.error, below=cost.review_below)


def build_witnessed(measured: WitnessedAnalysis | None) -> WitnessedScore | None:
    """The score of documents that the witness has looked at, if one was fitted."""
    if measured is None:
        return None
    return WitnessedScore(
        score=measured.fit.score.model_dump(mode="json"),
        certificate=_build_certificate(measured.certificate),
        review=build_review(measured.review),
    )
