"""The view of a tuning: its analysis in the values that the terminal, `--json` and the page show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.report.tuning import CertificateView, ChoiceView, ConfidenceView, TuningView
from extractors.run.tune.analysis import rung_limits, view_rungs
from extractors.run.tune.choices import find_front

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.run.tune.analysis import Analysis
    from extractors.run.tune.certificate import CertificateResult
    from extractors.run.tune.choices import ChoiceResult
    from extractors.run.tune.measurements import Reading
    from extractors.run.tune.ranking import Ranking
    from extractors.run.tune.recommendation import Recommendation
    from extractors.run.tune.session import ReadingsResult


def build_view(
    result: ReadingsResult, readings: Sequence[Reading], analysis: Analysis, files: Mapping[str, str], *, applied: bool
) -> TuningView:
    """Everything that a tuning showed."""
    run_info, limits = result.session.run_info, rung_limits(result.session.config.rule)
    recommendation = analysis.recommendation
    front = find_front(recommendation.results)
    chosen = _select_results(recommendation, front)
    views = [_view_choice(each, limits, on_front=each in front) for each in chosen]
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
    selected = [*plain, *(each for each in (*confident, *front, recommendation.fitted) if each not in plain)]
    return list({(each.choice.ladder, each.choice.climb_below, each.choice.agree): each for each in selected}.values())


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
