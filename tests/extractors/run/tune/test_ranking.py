"""ranking.py: whether confidence ranks values, and how many errors that needs."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from extractors.run.tune.ranking import LEAST_ERRORS, ScoredValue, measure_auc, rank_scores

VALUES = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=60)


def draw_values(errors, rights, *, informative=True, unknown=0):
    """Values whose confidence is informative or not."""
    dice = random.Random(7)
    verdicts = [False] * errors + [True] * rights
    values = [ScoredValue(dice.random() / 2 + (right and informative) * 0.4, right) for right in verdicts]
    return [*values, *[ScoredValue(None, right=False)] * unknown]


@settings(max_examples=25)
@given(VALUES.filter(lambda values: len({right for _, right in values}) == 2))
def test_area_under_the_curve_is_that_of_scikit_learn(values):
    confidences, verdicts = zip(*values, strict=True)
    assert measure_auc(values) == pytest.approx(roc_auc_score(verdicts, confidences))


def test_ranking_is_unknown_with_29_errors():
    ranking = rank_scores(draw_values(LEAST_ERRORS - 1, 400))
    assert (ranking.errors, ranking.auc, ranking.coverage, ranking.ranks) == (29, None, (), None)
    assert ranking.words == "cannot be told from 29 errors"
    assert rank_scores(draw_values(1, 400)).words == "cannot be told from 1 error"


def test_ranking_is_measured_with_30_errors():
    ranking = rank_scores(draw_values(LEAST_ERRORS, 400))
    assert ranking.auc > 0.9
    assert ranking.ranks is True
    assert (ranking.coverage[-1].coverage, ranking.coverage[-1].risk) == (1, pytest.approx(30 / 430))


def test_uninformative_confidence_does_not_rank():
    ranking = rank_scores(draw_values(60, 300, informative=False))
    assert ranking.auc_interval.low < 0.5 < ranking.auc_interval.high
    assert ranking.ranks is False
    assert ranking.words.startswith("confidence cannot rank: area under the curve 0.")


def test_values_of_unknown_confidence_are_counted_separately():
    ranking = rank_scores(draw_values(30, 300, unknown=5))
    assert (ranking.errors, ranking.rights, ranking.unknown) == (30, 300, 5)


def test_ranking_of_no_values_is_empty():
    ranking = rank_scores([])
    assert (ranking.ece, ranking.bins, ranking.words) == (None, (), "cannot be told from 0 errors")


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.6, 0.9]) | st.floats(0, 1), st.booleans()), max_size=200))
def test_bins_are_filled_and_hold_every_value_once(values):
    bins = rank_scores([ScoredValue(*value) for value in values]).bins
    assert sum(bin_.size for bin_ in bins) == len(values)
    assert all(bin_.size > 0 and bin_.interval.low <= bin_.right <= bin_.interval.high for bin_ in bins)
    assert len(bins) <= 10
    assert [bin_.confidence for bin_ in bins] == sorted(bin_.confidence for bin_ in bins)


def test_bins_of_distinct_confidences_have_equal_counts():
    bins = rank_scores([ScoredValue(place / 95, right=True) for place in range(95)]).bins
    assert {bin_.size for bin_ in bins} <= {10, 11}


def test_calibration_error_is_the_mean_distance_of_confidence_and_share():
    sure = [ScoredValue(0.9, place < 8) for place in range(10)]
    unsure = [ScoredValue(0.4, place < 4) for place in range(10)]
    assert rank_scores(sure + unsure).ece == pytest.approx(0.05)


@settings(max_examples=25)
@given(VALUES)
def test_risk_at_full_coverage_is_the_share_of_errors(values):
    repeated = [ScoredValue(*value) for value in [*values, (0.5, True), (0.5, False)] * LEAST_ERRORS]
    points = rank_scores(repeated).coverage
    assert points[-1].coverage == 1
    assert points[-1].risk == pytest.approx(sum(not value.right for value in repeated) / len(repeated))
    assert all(above.confidence > below.confidence for above, below in pairwise(points))
