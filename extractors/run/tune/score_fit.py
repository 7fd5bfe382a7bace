"""Fits the score on labels: logistic regression over standardised signals, with an L2 penalty (scikit-learn).

One model is fitted for all kinds of fields together, and one more for each kind with 30 errors and 30 right values. With
fewer than 10 of either in all, or where no model ranks better, the score is the least token probability. An error is a document's field that is
wrong at some rung: several rungs of one document show the same difficulty.

A value is an example once for each answer from which its document can have climbed, with a weight that sums to 1. How well
the score ranks is measured on documents that were left out when it was fitted (folds.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from extractors.run.tune.extra import import_module
from extractors.run.tune.folds import split_documents
from extractors.run.tune.ranking import LEAST_ERRORS, ScoredValue, measure_auc
from extractors.validate.score import (
    AGREEMENT_SIGNALS,
    QUALITY_SIGNALS,
    SIGNALS,
    TOKEN_SIGNALS,
    WITNESS_SIGNALS,
    QualityRange,
    Score,
    SignalModel,
    list_signals,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from extractors.run.tune.choices import LabelledReadings
    from extractors.run.tune.measurements import Reading, Scorer

LEAST_FOR_POOL = 10
LEAST_FOR_KIND = 30
PENALTY = 1.0  # of scikit-learn's `C`: the inverse of the penalty's weight
SOLVER = "newton-cholesky"  # the fastest for a few signals and many values
LEAST_GAIN = 0.01  # of the area under the curve, by which a model has to be better
LEAST_SCALE = 1e-9  # a signal that does not vary says nothing

# What a score is fitted on, whichever ranks best: signals that say nothing of these labels only add noise.
CANDIDATES = (SIGNALS, (*TOKEN_SIGNALS, *AGREEMENT_SIGNALS), TOKEN_SIGNALS)

# What the score of documents is fitted on that the witness has looked at.
WITNESSED_CANDIDATES = tuple((*signals, *WITNESS_SIGNALS) for signals in CANDIDATES)

# The groups of signals that an ablation leaves out, or uses alone.
GROUPS = {
    "tokens": TOKEN_SIGNALS,
    "agreement": AGREEMENT_SIGNALS,
    "quality": QUALITY_SIGNALS,
    "witness": WITNESS_SIGNALS,
}


class Example(NamedTuple):
    """One labelled value of an accepted answer, with its signals."""

    document: str
    field: str
    kind: str
    right: bool
    weight: float
    signals: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class ScoreFit:
    """The score fitted on all labels, and by document the one that was fitted without it."""

    score: Score
    held_out: Mapping[str, Score]

    def scorer(self) -> Scorer:
        """The confidences of each document by the score that has not seen it: for every figure of a tuning."""

        def confide(reading: Reading, lower: Reading | None) -> dict[str, float | None]:
            return score_reading(self.held_out.get(reading.document, self.score), reading, lower)

        return confide


def fit_scores(documents: Sequence[LabelledReadings]) -> ScoreFit:
    """Fits the score on all documents, and once without each fold of them.

    The signals are those that rank the documents best that were left out. A model that ranks them no better than the
    least token probability is given up.
    """
    examples = list_examples(documents)
    quality = measure_quality(documents)
    plain = fit_score(examples, quality)
    held_out = dict.fromkeys((each.document for each in documents), plain)
    if plain.pooled is None:
        return ScoreFit(plain, held_out)
    plain = plain.model_copy(update={"pooled": None, "by_kind": {}})
    best = _fit_best(documents, CANDIDATES, _measure_area(documents, {}) + LEAST_GAIN)
    return best or ScoreFit(plain, dict.fromkeys(held_out, plain))


def fit_witnessed(documents: Sequence[LabelledReadings], without: ScoreFit) -> ScoreFit | None:
    """Fits the score of documents that the witness has looked at, as `fit_scores`.

    None where its signals rank no better than the score without them, and from too few errors or right values.
    """
    if min(count_verdicts(list_examples(documents))) < LEAST_FOR_POOL:
        return None
    return _fit_best(documents, WITNESSED_CANDIDATES, _measure_area(documents, without.held_out) + LEAST_GAIN)


def _fit_best(
    documents: Sequence[LabelledReadings], candidates: Iterable[Sequence[str]], area: float
) -> ScoreFit | None:
    """The fit whose signals rank the documents best that were left out; None where each ranks below this area."""
    examples, quality = list_examples(documents), measure_quality(documents)
    best: ScoreFit | None = None
    for signals in candidates:
        held_out = _fit_held_out(documents, examples, signals, quality)
        if (reached := _measure_area(documents, held_out)) >= area:
            best, area = ScoreFit(fit_score(examples, quality, signals), held_out), reached
    return best


def _fit_held_out(
    documents: Sequence[LabelledReadings],
    examples: Sequence[Example],
    signals: Sequence[str],
    quality: QualityRange | None = None,
) -> dict[str, Score]:
    """By document, the score that was fitted without its fold."""
    held_out: dict[str, Score] = {}
    for fold in split_documents(each.document for each in documents):
        rest = [example for example in examples if example.document not in fold]
        held_out |= dict.fromkeys(fold, fit_score(rest, quality, signals))
    return held_out


def fit_score(
    examples: Sequence[Example], quality: QualityRange | None = None, signals: Sequence[str] = SIGNALS
) -> Score:
    """Fits the models that so many errors allow."""
    errors, rights = count_verdicts(examples)
    score = Score(
        kinds={example.field: example.kind for example in examples},
        errors=errors,
        rights=rights,
        quality=quality or QualityRange(),
    )
    if min(errors, rights) < LEAST_FOR_POOL:
        return score
    by_kind: dict[str, list[Example]] = {}
    for example in examples:
        by_kind.setdefault(example.kind, []).append(example)
    own = {
        kind: _fit_model(some, signals)
        for kind, some in by_kind.items()
        if len(by_kind) > 1 and min(count_verdicts(some)) >= LEAST_FOR_KIND
    }
    return score.model_copy(update={"pooled": _fit_model(examples, signals), "by_kind": own})


def score_reading(score: Score, reading: Reading, lower: Reading | None) -> dict[str, float | None]:
    """The confidence of each field of a reading."""
    agreed = reading.agreement(lower)
    return {
        each.field: score.confidence(each, agreed=agreed.get(each.field), quality=reading.quality)
        for each in reading.evidence
    }


def list_examples(documents: Iterable[LabelledReadings]) -> list[Example]:
    """The examples of all accepted readings; rungs with the same pictures count once."""
    examples: list[Example] = []
    for document in documents:
        earlier: list[Reading] = []
        for reading in _distinct(document):
            lowers: list[Reading | None] = [None, *earlier]
            for lower in lowers:
                examples += _list_values(reading, lower, 1 / len(lowers))
            earlier.append(reading)
    return examples


def measure_quality(documents: Iterable[LabelledReadings]) -> QualityRange:
    """The range of the labelled pictures' measures."""
    measured = [reading.quality for each in documents for reading in each.readings if reading.quality is not None]
    sharpness = [each.sharpness for each in measured if each.sharpness is not None]
    contrast = [each.contrast for each in measured if each.contrast is not None]
    return QualityRange(
        sharpness=(min(sharpness), max(sharpness)) if sharpness else None,
        contrast=(min(contrast), max(contrast)) if contrast else None,
    )


def count_verdicts(examples: Iterable[Example]) -> tuple[int, int]:
    """The errors and the right values: fields of documents that are wrong, and right, at some rung."""
    verdicts = {(example.document, example.field, example.right) for example in examples}
    errors = sum(not right for _, _, right in verdicts)
    return errors, len(verdicts) - errors


def list_scored(documents: Iterable[LabelledReadings], scorer: Scorer) -> list[ScoredValue]:
    """Each labelled value of each accepted reading beside the rung below, with its confidence."""
    values: list[ScoredValue] = []
    for document in documents:
        lower: Reading | None = None
        for reading in _distinct(document):
            confidences = scorer(reading, lower)
            values += [ScoredValue(confidences.get(each.field), each.right) for each in reading.comparisons]
            lower = reading
    return values


def ablate_signals(documents: Sequence[LabelledReadings]) -> dict[str, float]:
    """The area under the curve by the signals that the score is made of, on documents that it was not fitted on.

    Empty from fewer than 30 errors. `least` is the least token probability as it is. Signals without values are left out.
    """
    examples = list_examples(documents)
    if min(count_verdicts(examples)) < LEAST_ERRORS:
        return {}
    groups = {name: group for name, group in GROUPS.items() if _vary(examples, group)}
    signals = (*SIGNALS, *groups.get("witness", ()))
    subsets = {name: tuple(group) for name, group in groups.items()} | {"all": signals}
    for name, group in groups.items():
        subsets[f"all without {name}"] = tuple(signal for signal in signals if signal not in group)
    areas = {"least": _measure_area(documents, {})}
    for name, subset in subsets.items():
        areas[name] = _measure_area(documents, _fit_held_out(documents, examples, subset))
    return areas


def _vary(examples: Sequence[Example], signals: Sequence[str]) -> bool:
    """Whether some signal of these has two values: a group that was never measured ranks nothing."""
    return any(len({example.signals[name] for example in examples}) > 1 for name in signals)


def _measure_area(documents: Sequence[LabelledReadings], held_out: Mapping[str, Score]) -> float:
    values = list_scored(documents, ScoreFit(Score(), held_out).scorer())
    return measure_auc([(confidence, right) for confidence, right in values if confidence is not None])


def _distinct(document: LabelledReadings) -> list[Reading]:
    """The accepted readings of different pictures, the cheapest first."""
    by_call = {reading.call: reading for reading in reversed(document.readings) if reading.accepted}
    return [*by_call.values()][::-1]


def _list_values(reading: Reading, lower: Reading | None, weight: float) -> list[Example]:
    evidence = {each.field: each for each in reading.evidence if each.least is not None}
    agreed = reading.agreement(lower)
    return [
        Example(
            reading.document,
            each.field,
            each.kind,
            each.right,
            weight,
            list_signals(evidence[each.field], agreed=agreed.get(each.field), quality=reading.quality),
        )
        for each in reading.comparisons
        if each.field in evidence
    ]


def _fit_model(examples: Sequence[Example], signals: Sequence[str]) -> SignalModel:
    numpy = import_module("numpy")
    regression = import_module("sklearn.linear_model").LogisticRegression(C=PENALTY, solver=SOLVER)
    values = numpy.array([[example.signals[name] for name in signals] for example in examples], dtype=float)
    known = ~numpy.isnan(values)
    means = numpy.where(known, values, 0).sum(axis=0) / numpy.maximum(1, known.sum(axis=0))
    centred = numpy.where(known, values - means, 0)
    scales = numpy.sqrt((centred**2).sum(axis=0) / numpy.maximum(1, known.sum(axis=0)))
    scales = numpy.where(scales < LEAST_SCALE, 1.0, scales)
    weights = [example.weight for example in examples]
    regression.fit(centred / scales, [example.right for example in examples], sample_weight=weights)
    return SignalModel(
        signals=tuple(signals),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        weights=tuple(regression.coef_[0].tolist()),
        intercept=float(regression.intercept_[0]),
    )
