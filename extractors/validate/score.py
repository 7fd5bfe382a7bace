"""The score: the confidence of a value, from the signals that its answer gave.

Without a measurement on labels it is the least token probability. A tuning replaces that by a logistic model over standardised
signals, for all kinds of fields together and, from enough errors on, for one kind alone (run/tune/score_fit.py fits it).
It is evaluated here without scikit-learn. A value whose token probabilities are unknown has no confidence.

| signal | from |
|---|---|
| `least` `mean` `first` | log-odds of the least, the mean and the first token probability |
| `total` `length` | the sum of the log probabilities, and the number of tokens; logarithms of both |
| `not_null` | log-odds of a value against null, or of null where that is more probable |
| `agreed` `disagreed` | 1 where the lower rung's answer is the same, or another one; 0 where there was none |
| `sharpness` `contrast` | of the picture; their logarithms |
| `seen` | the share of the field's judged values that the witness saw on a page |

A score with `seen` is for documents that the witness has looked at: a run evaluates it after that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003 - pydantic reads it
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from extractors.core.evidence import Evidence

if TYPE_CHECKING:
    from extractors.core.evidence import FieldEvidence, Quality

TOKEN_SIGNALS = ("least", "mean", "first", "total", "length", "not_null")
AGREEMENT_SIGNALS = ("agreed", "disagreed")
QUALITY_SIGNALS = ("sharpness", "contrast")
WITNESS_SIGNALS = ("seen",)
SIGNALS = (*TOKEN_SIGNALS, *AGREEMENT_SIGNALS, *QUALITY_SIGNALS)  # that every answer has
MOST_ODDS = 16.0  # log-odds; a probability of 1 has none


class SignalModel(BaseModel):
    """A logistic model over standardised signals: an unknown signal counts as its mean."""

    model_config = ConfigDict(frozen=True)

    signals: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def probability(self, signals: Mapping[str, float | None]) -> float:
        """The probability that a value with these signals is right."""
        odds = self.intercept
        for name, mean, scale, weight in zip(self.signals, self.means, self.scales, self.weights, strict=True):
            value = signals.get(name)
            odds += 0.0 if value is None else weight * (value - mean) / scale
        return 1 / (1 + math.exp(-max(-MOST_ODDS, min(MOST_ODDS, odds))))


class QualityRange(BaseModel):
    """The lowest and the highest measure of the labelled pictures; None where none was measured."""

    model_config = ConfigDict(frozen=True)

    sharpness: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None

    def contains(self, quality: Quality | None) -> bool | None:
        """Whether a picture is like those of the labels; None where nothing can be compared."""
        if quality is None:
            return None
        pairs = ((self.sharpness, quality.sharpness), (self.contrast, quality.contrast))
        known = [limits[0] <= value <= limits[1] for limits, value in pairs if limits is not None and value is not None]
        return all(known) if known else None


class Score(BaseModel):
    """The models of a tuning: `pooled` for all fields, `by_kind` for kinds of fields that have their own.

    Without a model the confidence is the least token probability. `kinds` has the kind of each labelled field, `errors` and
    `rights` count the labels that it was fitted on.
    """

    model_config = ConfigDict(frozen=True)

    pooled: SignalModel | None = None
    by_kind: dict[str, SignalModel] = {}
    kinds: dict[str, str] = {}
    errors: int = 0
    rights: int = 0
    quality: QualityRange = QualityRange()

    def apply(
        self, evidence: Evidence, agreed: Mapping[str, bool] | None = None, quality: Quality | None = None
    ) -> Evidence:
        """The evidence with the confidence of each field by this score. `agreed`: whether the lower rung's answer is the same."""
        agreed = agreed or {}
        return Evidence(
            tuple(
                replace(each, confidence=self.confidence(each, agreed=agreed.get(each.field), quality=quality))
                for each in evidence.fields
            ),
            self.quality.contains(quality),
        )

    def confidence(
        self, evidence: FieldEvidence, *, agreed: bool | None = None, quality: Quality | None = None
    ) -> float | None:
        """The confidence of one field; None where its token probabilities are unknown."""
        if evidence.least is None:
            return None
        model = self.by_kind.get(self.kinds.get(evidence.field, ""), self.pooled)
        if model is None:
            return math.exp(evidence.least)
        return model.probability(list_signals(evidence, agreed=agreed, quality=quality))


def list_signals(
    evidence: FieldEvidence, *, agreed: bool | None = None, quality: Quality | None = None
) -> dict[str, float | None]:
    """The signals of a value by name."""
    total = evidence.total
    return {
        "least": _log_odds(evidence.least),
        "mean": _log_odds(evidence.mean),
        "first": _log_odds(evidence.first),
        "total": None if total is None else math.log1p(-min(total, 0.0)),
        "length": math.log1p(evidence.length),
        "not_null": None
        if evidence.not_null is None
        else _log_odds(math.log(max(evidence.not_null, 1 - evidence.not_null))),
        "agreed": float(agreed is True),
        "disagreed": float(agreed is False),
        "sharpness": _logarithm(quality.sharpness if quality else None),
        "contrast": _logarithm(quality.contrast if quality else None),
        "seen": evidence.seen,
    }


def _log_odds(logprob: float | None) -> float | None:
    """The log-odds of a log probability, within what a float can tell from 0 and 1."""
    if logprob is None:
        return None
    rest = -math.expm1(min(logprob, 0.0))  # 1 - p, exact near p = 1
    return max(-MOST_ODDS, min(MOST_ODDS, logprob - math.log(rest))) if rest > 0 else MOST_ODDS


def _logarithm(measure: float | None) -> float | None:
    return None if measure is None else math.log1p(max(0.0, measure))
