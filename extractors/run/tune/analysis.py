"""Analysis: the measurements of a tuning as the figures that a person and a program read."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError
from extractors.core.money import NANO, sum_known
from extractors.core.plain_values import canonical_text
from extractors.core.tiles import PATCH_SHARES, Size
from extractors.report.rows import RowFilter, open_rows
from extractors.report.tuning import RungView, Share
from extractors.run.tune.certificate import CertificateResult, certify_published
from extractors.run.tune.choices import group_readings
from extractors.run.tune.intervals import wilson
from extractors.run.tune.label_next import label_next
from extractors.run.tune.labels import LEAST_DOCUMENTS
from extractors.run.tune.ranking import ALL, Ranking, rank_published
from extractors.run.tune.recommendation import Recommendation, recommend
from extractors.run.tune.score_fit import ScoreFit, ablate_signals, fit_scores
from extractors.run.tune.witnessed import WitnessedAnalysis, analyze_witnessed, is_looked_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extractors.core import RunInfo
    from extractors.core.tiles import Rule
    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row
    from extractors.report.tuning.review_costs import ReviewPrices
    from extractors.run.tune.labels import Labels
    from extractors.run.tune.measurements import Reading, Scorer
    from extractors.run.tune.session import ReadingsResult

SMALL, LARGE = Size(1000, 1000), Size(1500, 2000)
NEXT_RANDOM, NEXT_DOUBTFUL = 30, 20  # documents of the list of labels to give next


def list_comparisons(run_info: RunInfo, labels: Labels, readings: Sequence[Reading], scorer: Scorer) -> list[Row]:
    """The rows of `tuning/<run>.parquet`; `score` is the confidence by a score that was fitted without the document."""
    truths = {label.document.document: label.cells for label in labels.labelled}
    by_place = {(reading.document, reading.rung): reading for reading in readings}
    rows: list[Row] = []
    for reading in readings:
        evidence = {each.field: each for each in reading.evidence}
        lower = _find_lower(by_place, reading)
        agreed, scores = reading.agreement(lower), scorer(reading, lower)
        for comparison in reading.comparisons:
            match, given = comparison.match, evidence.get(comparison.field)
            rows.append(
                {
                    "run": run_info.run,
                    "document": reading.document,
                    "schema": run_info.schema,
                    "model": run_info.model,
                    "field": comparison.field,
                    "kind": comparison.kind,
                    "rung": reading.rung,
                    "draw": reading.draw,
                    "accepted": reading.accepted,
                    "right": match.right,
                    "similarity": match.similarity,
                    "truth": canonical_text(truths[reading.document][comparison.field]),
                    "read": reading.answers.get(comparison.field),
                    "read_null": match.read_null,
                    "true_null": match.true_null,
                    "rows": match.rows,
                    "missing_rows": match.missing_rows,
                    "invented_rows": match.invented_rows,
                    "image_tokens": reading.image_tokens,
                    "cost_usd": reading.cost_usd,
                    "confidence": given.confidence if given else None,
                    "score": scores.get(comparison.field),
                    "least": given.least if given else None,
                    "mean": given.mean if given else None,
                    "first": given.first if given else None,
                    "total": given.total if given else None,
                    "length": given.length if given else None,
                    "not_null": given.not_null if given else None,
                    "agreed": agreed.get(comparison.field),
                    "seen": given.seen if given else None,
                    "sharpness": reading.quality.sharpness if reading.quality else None,
                    "contrast": reading.quality.contrast if reading.quality else None,
                }
            )
    return rows


def _find_lower(by_place: Mapping[tuple[str, int], Reading], reading: Reading) -> Reading | None:
    """The nearest accepted reading of other pictures at a rung below."""
    below = (by_place[reading.document, rung] for rung in reversed(range(reading.rung)))
    return next((each for each in below if each.accepted and each.call != reading.call), None)


def list_next(result: ReadingsResult) -> list[tuple[str, str]]:
    """The documents to label next, each with how it was drawn."""
    confidences = dict.fromkeys((*result.labels.unlabelled, *_names(result)), None) | dict(
        _read_confidences(result.session.output, result.session.run_info.schema)
    )
    known = {*result.labels.unlabelled, *_names(result)}
    labelled = {label.document.document: label.draw for label in result.labels.labelled}
    listed = label_next(
        {name: confidence for name, confidence in confidences.items() if name in known},
        labelled,
        random=NEXT_RANDOM,
        doubtful=NEXT_DOUBTFUL,
    )
    return [(each.document, each.draw) for each in listed]


def view_rungs(result: ReadingsResult, readings: Sequence[Reading]) -> list[RungView]:
    """The accuracy of each field at each rung, with the mean tokens and dollars of a document."""
    names = rung_names(result)
    by_rung = {name: [each for each in readings if each.rung == rung] for rung, name in enumerate(names)}
    return [view_rung(name, result.labels.fields, at_rung) for name, at_rung in by_rung.items() if at_rung]


def view_rung(name: str, fields: Sequence[str], readings: Sequence[Reading]) -> RungView:
    """The accuracy of each field in these readings, at least one, with their mean tokens and dollars."""
    costs = sum_known(reading.cost_usd for reading in readings)
    mean = None if costs is None else (costs / Decimal(len(readings))).quantize(NANO)
    tokens = fmean(reading.image_tokens for reading in readings)
    return RungView(name, tokens, mean, dict(_count_fields(fields, readings)))


def rung_names(result: ReadingsResult) -> list[str]:
    """The rungs in words: budgets of image tokens a page, or shares of the image's own bill."""
    rungs = rung_limits(result.session.config.rule)
    return [f"up to {rung:,.0f} tokens a page" if rung > 1 else f"{rung:.0%} of the image's tokens" for rung in rungs]


def rung_limits(rule: Rule) -> tuple[float, ...]:
    """The rungs of a rule, the cheapest first: budgets where every image has the same, else shares of the image's own bill."""
    small, large = rule.rungs(SMALL), rule.rungs(LARGE)
    return small if small == large else PATCH_SHARES


def _names(result: ReadingsResult) -> list[str]:
    return [label.document.document for label in result.labels.labelled]


def _read_confidences(output: Output, schema: str) -> Iterator[tuple[str, float | None]]:
    """The confidence of the current row of each document; nothing where there are no rows."""
    try:
        rows = open_rows(output, schema, RowFilter())
        if "_confidence" not in rows.columns:
            return
        for frame in rows.frames(["_document", "_confidence"]):
            yield from frame.iter_rows()
    except ConfigurationError:  # no document has a result yet
        return


def _count_fields(fields: Sequence[str], readings: Sequence[Reading]) -> Iterator[tuple[str, Share]]:
    for name in fields:
        verdicts = [each.right for reading in readings for each in reading.comparisons if each.field == name]
        low, high = wilson(sum(verdicts), len(verdicts))
        yield name, Share(sum(verdicts), len(verdicts), low, high)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the measurements of a tuning show: the recommended choice, the certificate, and whether confidence ranks.

    `witnessed` is None where the witness has not looked (`looked_at`), or its signals add nothing.
    """

    recommendation: Recommendation
    fit: ScoreFit
    ablation: Mapping[str, float]
    certificate: CertificateResult
    rankings: Mapping[str, Ranking]
    looked_at: bool = False
    witnessed: WitnessedAnalysis | None = None

    @property
    def ranks(self) -> bool | None:
        """Whether confidence ranks right values before wrong ones; None where too few errors tell."""
        return self.rankings[ALL].ranks


def analyze(
    fields: Sequence[str],
    readings: Sequence[Reading],
    target: float,
    agree_on: Sequence[str],
    prices: ReviewPrices | None = None,
) -> Analysis:
    """Chooses, certifies and ranks. Raises ConfigurationError where too few documents could be read."""
    documents = group_readings(readings)
    if len(documents) < LEAST_DOCUMENTS:
        raise ConfigurationError(
            f"{len(documents)} labelled images could be read: at least {LEAST_DOCUMENTS} are needed"
        )
    fit = fit_scores(documents)
    recommendation = recommend(documents, fit.scorer(), agree_on, prices=prices)
    published = recommendation.held_out
    looked_at = is_looked_at(documents)
    return Analysis(
        recommendation,
        fit,
        ablate_signals(documents),
        certify_published(published, target),
        rank_published(fields, published),
        looked_at,
        analyze_witnessed(documents, fit, recommendation, target, prices) if looked_at else None,
    )
