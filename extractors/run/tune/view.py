"""The view of a tuning: its analysis in the values that the terminal, `--json` and the page show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from extractors.report.tuning import SHOWN_CHOICES, CertificateView, ChoiceView, ConfidenceView, TuningView
from extractors.report.tuning.review_costs import DollarsView
from extractors.report.tuning.witnessed import WitnessedView
from extractors.run.tune.analysis import rung_limits, view_rungs
from extractors.run.tune.choices import find_front

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.report.tuning.review_costs import ReviewCost
    from extractors.run.tune.analysis import Analysis
    from extractors.run.tune.certificate import CertificateResult
    from extractors.run.tune.choices import Choice, ChoiceResult
    from extractors.run.tune.dollars import Dollars
    from extractors.run.tune.measurements import Reading
    from extractors.run.tune.ranking import Ranking
    from extractors.run.tune.recommendation import Recommendation
    from extractors.run.tune.session import ReadingsResult
    from extractors.run.tune.witnessed import WitnessedAnalysis


def build_view(
    result: ReadingsResult, readings: Sequence[Reading], analysis: Analysis, files: Mapping[str, str], *, applied: bool
) -> TuningView:
    """Everything that a tuning showed."""
    run_info, limits = result.session.run_info, rung_limits(result.session.config.rule)
    recommendation = analysis.recommendation
    front = find_front(recommendation.results)
    costs = _map_costs(recommendation)
    chosen = _select_results(recommendation, front)
    views = [
        replace(_view_choice(each, limits, on_front=each in front), review=costs.get(each.choice)) for each in chosen
    ]
    return TuningView(
        run=run_info.run,
        schema=run_info.schema,
        model=run_info.model,
        images=recommendation.fitted.documents,
        fields=result.labels.fields,
        rungs=view_rungs(result, readings),
        choices=views,
        recommended=views[chosen.index(recommendation.fitted)],
        certificate=view_certificate(analysis.certificate),
        confidence={name: view_confidence(ranking) for name, ranking in analysis.rankings.items()},
        ablation=analysis.ablation,
        unlooked=result.control.blank,
        foreign=result.control.foreign,
        applied=applied,
        files=files,
        warnings=[*result.record.warnings, *_warn_of_unknown(readings)],
        held_out=describe_held_out(recommendation),
        join=result.join,
        dollars=view_dollars(recommendation.dollars) if recommendation.dollars else None,
        witnessed=_view_witnessed(analysis.witnessed) if analysis.looked_at else None,
    )


def _view_witnessed(measured: WitnessedAnalysis | None) -> WitnessedView:
    if measured is None:
        return WitnessedView()
    return WitnessedView(view_certificate(measured.certificate), view_confidence(measured.ranking), measured.review)


def _map_costs(recommendation: Recommendation) -> dict[Choice, ReviewCost]:
    """By choice, what it costs with reviews and wrong rows; empty where no prices were given."""
    by_choice = recommendation.dollars.by_choice if recommendation.dollars else ()
    return {result.choice: cost for result, cost in zip(recommendation.results, by_choice, strict=False)}


def view_dollars(dollars: Dollars) -> DollarsView:
    """The dollars as a person reads them."""
    return DollarsView(
        chosen=dollars.chosen,
        expected=dollars.expected,
        curve=[(each.reviewed / each.documents, each.usd_a_document) for each in dollars.curve],
    )


def _warn_of_unknown(readings: Sequence[Reading]) -> list[str]:
    """A warning where the server gave log probabilities for some answers only."""
    accepted = {reading.call: reading for reading in readings if reading.accepted}
    unknown = sum(all(each.least is None for each in reading.evidence) for reading in accepted.values())
    if unknown in {0, len(accepted)}:
        return []
    return [f"{unknown:,} of {len(accepted):,} accepted answers have no log probabilities: their confidence is unknown"]


def describe_held_out(recommendation: Recommendation) -> dict[str, str]:
    """The figures of the recommendation by cross-validation, which are those to expect on other documents."""
    expected = recommendation.expected
    low, high = expected.mean_interval
    worse = ", ".join(f"{name} {count:+}" for name, count in recommendation.worse.items() if count)
    return {
        "image tokens": f"{expected.image_tokens_share:.1%} of faithful's",
        "mean accuracy": f"{expected.accuracy_mean:.1%} ({low:.1%} to {high:.1%})",
        "documents worse than faithful": worse or "none in any field",
        "folds with the same ladder": f"{recommendation.folds_agreeing:.0%}",
    }


def _select_results(recommendation: Recommendation, front: Sequence[ChoiceResult]) -> list[ChoiceResult]:
    """All ladders without a threshold; of those with one the front; and the recommended one."""
    plain = [each for each in recommendation.results if each.choice.climb_below is None]
    confident = find_front([each for each in recommendation.results if each.choice.climb_below is not None])
    cheapest = _list_cheapest(recommendation)
    selected = [*plain, *(each for each in (*confident, *front, *cheapest, recommendation.fitted) if each not in plain)]
    return list({(each.choice.ladder, each.choice.climb_below, each.choice.agree): each for each in selected}.values())


def _list_cheapest(recommendation: Recommendation) -> list[ChoiceResult]:
    """The results of the fewest dollars; none where no prices were given."""
    if recommendation.dollars is None:
        return []
    priced = zip(recommendation.results, recommendation.dollars.by_choice, strict=True)
    return [result for result, _ in sorted(priced, key=lambda each: each[1].total_usd)[:SHOWN_CHOICES]]


def _view_choice(result: ChoiceResult, limits: Sequence[float], *, on_front: bool) -> ChoiceView:
    return ChoiceView(
        ladder=tuple(limits[rung] for rung in result.choice.ladder),
        climb_below=result.choice.climb_below,
        image_tokens=result.image_tokens,
        image_tokens_share=result.image_tokens_share,
        cost_usd=result.cost_usd,
        accuracy={name: each.share for name, each in result.accuracy.items()},
        accuracy_mean=result.accuracy_mean,
        on_front=on_front,
    )


def view_certificate(result: CertificateResult) -> CertificateView:
    """The certificate as a person reads it."""
    return CertificateView(
        target=result.target,
        labels=result.labels,
        needed=result.needed,
        feasible=result.feasible,
        threshold=result.threshold,
        share=result.share,
        bound=result.bound,
    )


def view_confidence(ranking: Ranking) -> ConfidenceView:
    """The ranking of one field, or of all, as a person reads it."""
    return ConfidenceView(
        errors=ranking.errors,
        values=ranking.errors + ranking.rights,
        auc=ranking.auc,
        auc_interval=ranking.auc_interval,
        ece=ranking.ece,
        words=ranking.words,
        coverage=[(point.coverage, point.risk) for point in ranking.coverage],
        bins=[(each[0], each[1], *each[2], each[3]) for each in ranking.bins],
    )
