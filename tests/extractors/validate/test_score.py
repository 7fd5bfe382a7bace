"""score.py: the confidence of a value computed from its signals, without scikit-learn."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core.evidence import Evidence, FieldEvidence, Quality
from extractors.validate.score import SIGNALS, WITNESS_SIGNALS, QualityRange, Score, SignalModel, list_signals

TOTAL = FieldEvidence("total", -0.1, -0.05, -0.01, -0.2, 4, 0.99)
DATE = FieldEvidence("date", -0.5, -0.2, -0.1, -0.9, 6, 0.9)
LOGPROBS = st.floats(-60, 0) | st.none()
LEAST = SignalModel(signals=("least",), means=(1,), scales=(2,), weights=(0.5,), intercept=0.25)
AGREED = SignalModel(signals=("agreed", "disagreed"), means=(0, 0), scales=(1, 1), weights=(2, -2), intercept=0)


def test_confidence_without_a_model_is_the_lowest_token_probability():
    assert [field.confidence for field in Score().apply(Evidence((TOTAL, DATE))).fields] == [
        math.exp(-0.1),
        math.exp(-0.5),
    ]


def test_confidence_of_a_model_is_the_logistic_of_its_standardised_signals():
    odds = 0.25 + 0.5 * (math.log(math.exp(-0.1) / (1 - math.exp(-0.1))) - 1) / 2
    assert Score(pooled=LEAST).confidence(TOTAL) == pytest.approx(1 / (1 + math.exp(-odds)))


def test_field_kind_with_its_own_model_uses_it():
    score = Score(pooled=LEAST, by_kind={"date": AGREED}, kinds={"date": "date", "total": "number"})
    scored = score.apply(Evidence((TOTAL, DATE)), {"date": True, "total": True})
    assert [field.confidence for field in scored.fields] == [
        Score(pooled=LEAST).confidence(TOTAL),
        pytest.approx(1 / (1 + math.exp(-2))),
    ]


@pytest.mark.parametrize(("agreed", "odds"), [(True, 2), (False, -2), (None, 0)])
def test_agreement_with_the_lower_rung_changes_the_confidence(agreed, odds):
    assert Score(pooled=AGREED).confidence(TOTAL, agreed=agreed) == pytest.approx(1 / (1 + math.exp(-odds)))


def test_field_without_token_probabilities_has_no_confidence():
    assert Score(pooled=AGREED).confidence(FieldEvidence("total"), agreed=True) is None


def test_unknown_signal_counts_as_its_mean():
    quality = SignalModel(signals=("sharpness",), means=(3,), scales=(1,), weights=(5,), intercept=1)
    at_mean = Quality(sharpness=math.expm1(3))
    assert Score(pooled=quality).confidence(TOTAL) == Score(pooled=quality).confidence(TOTAL, quality=at_mean)


def test_score_round_trips_through_json():
    score = Score(pooled=LEAST, kinds={"total": "number"}, quality=QualityRange(sharpness=(1, 9)))
    assert Score.model_validate_json(score.model_dump_json()) == score


@pytest.mark.parametrize(
    ("quality", "inside"),
    [
        (None, None),
        (Quality(), None),
        (Quality(None, 1), None),
        (Quality(5, 1), True),
        (Quality(0.5, 1), False),
        (Quality(9.5), False),
    ],
)
def test_like_labels_is_false_for_quality_outside_the_labels_range(quality, inside):
    score = Score(quality=QualityRange(sharpness=(1, 9)))
    assert score.quality.contains(quality) is inside
    assert score.apply(Evidence((TOTAL,)), quality=quality).like_labels is inside


def test_not_null_signal_is_the_probability_of_the_chosen_side():
    for_value, for_null = (list_signals(FieldEvidence("total", not_null=chance))["not_null"] for chance in (0.9, 0.1))
    assert for_value == pytest.approx(for_null)
    assert for_value > list_signals(FieldEvidence("total", not_null=0.6))["not_null"]


@given(LOGPROBS, LOGPROBS, LOGPROBS, st.floats(-1e4, 0) | st.none(), st.floats(0, 1) | st.none())
def test_signals_are_finite_and_confidences_are_probabilities(least, mean, first, total, not_null):
    signals = list_signals(FieldEvidence("total", least, mean, first, total, 3, not_null), quality=Quality(1e9, 0))
    assert tuple(signals) == (*SIGNALS, *WITNESS_SIGNALS)
    assert all(value is None or math.isfinite(value) for value in signals.values())
    model = SignalModel(signals=SIGNALS, means=[0] * 10, scales=[1e-3] * 10, weights=[9] * 10, intercept=0)
    assert 0 < model.probability(signals) < 1


@given(st.floats(-30, 0), st.floats(-30, 0))
def test_least_signal_ranks_as_the_probability_does(first, second):
    odds = [list_signals(FieldEvidence("total", least=least))["least"] for least in (first, second)]
    assert (odds[0] - odds[1]) * (first - second) >= 0


def test_score_imports_no_package_of_an_extra():
    code = "import sys, extractors.validate.score; print({'sklearn', 'scipy', 'numpy', 'rapidfuzz'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
