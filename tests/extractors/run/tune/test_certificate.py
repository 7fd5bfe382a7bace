"""certificate.py: the share of documents that may skip review, and how often its bound is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractors.run.tune.certificate import LabelledRow, certify

DRAWS = 2000
MOST_WRONG = 0.065


def make_documents(*verdicts, draw="random"):
    """Documents of falling confidence, with these verdicts."""
    return [LabelledRow(1 - place / 10_000, right, draw) for place, right in enumerate(verdicts)]


def measure_wrong_bounds(*, accuracy, slope, labels, target, levels=None):
    """How often the bound is above the true share of right documents at the certified threshold.

    Confidence is uniform, in so many `levels` if given; a document of confidence c is right with the probability accuracy +
    slope * (c - 1/2).
    """
    generator = np.random.default_rng(11)
    grid = np.linspace(0, 1, levels or 2001)
    chances = accuracy + slope * (grid - 0.5)
    wrong = 0
    for _ in range(DRAWS):
        places = generator.integers(0, len(grid), labels)
        verdicts = generator.random(labels) < chances[places]
        sample = [LabelledRow(float(grid[place]), bool(right)) for place, right in zip(places, verdicts, strict=True)]
        result = certify(sample, target)
        wrong += result.bound is not None and result.bound > chances[grid >= result.threshold].mean()
    return wrong / DRAWS


def test_299_documents_without_an_error_certify_99_percent():
    result = certify(make_documents(*[True] * 299))
    assert (result.share, result.labels, result.errors, result.needed) == (1, 299, 0, 0)
    assert result.bound == pytest.approx(0.05 ** (1 / 299))


def test_30_documents_without_an_error_do_not_certify_99_percent():
    result = certify(make_documents(*[True] * 30))
    assert (result.threshold, result.share, result.bound, result.tests) == (None, None, None, ())
    assert result.feasible == pytest.approx(0.905, abs=5e-4)
    assert result.needed == 269


def test_certified_share_ends_at_the_last_threshold_that_passed():
    result = certify(make_documents(*[True] * 60, *[False] * 40), target=0.95)
    assert result.share == pytest.approx(0.59)
    assert result.threshold == pytest.approx(1 - 58 / 10_000)
    assert result.share_interval.low < 0.59 < result.share_interval.high
    assert [(test.documents, test.errors) for test in result.tests] == [(59, 0), (93, 33)]


def test_certify_stops_at_the_first_failed_threshold_though_a_lower_one_would_pass():
    result = certify(make_documents(*[False] * 1, *[True] * 400), target=0.95)
    assert [(test.documents, test.errors) for test in result.tests] == [(59, 1)]
    assert result.threshold is None


def test_each_lower_threshold_allows_one_more_error():
    result = certify(make_documents(*[True] * 70, *[False] * 1, *[True] * 60), target=0.95)
    assert [(test.documents, test.errors) for test in result.tests] == [(59, 0), (93, 1), (124, 1), (131, 1)]
    assert result.share == 1


def test_doubtful_documents_certify_nothing():
    result = certify(make_documents(*[True] * 400, draw="doubtful"))
    assert (result.labels, result.threshold, result.needed) == (0, None, 299)


def test_document_of_unknown_confidence_is_reviewed():
    unknown = [LabelledRow(None, right=True)] * 41
    result = certify([*make_documents(*[True] * 59), *unknown], target=0.95)
    assert (result.labels, result.share) == (100, 0.59)


def test_equal_confidences_are_accepted_or_reviewed_together():
    tied = [LabelledRow(0.9, right=place != 0) for place in range(100)]
    assert certify(tied, target=0.95).tests[0].documents == 100
    assert certify(tied, target=0.95).share == 1


def test_needed_labels_count_documents_without_a_confidence():
    """Half of the documents have none, so twice as many labels are needed."""
    result = certify([*make_documents(*[True] * 20), *[LabelledRow(None, right=True)] * 20], target=0.95)
    assert result.needed == (59 - 20) * 2


@pytest.mark.parametrize("target", [0, 1, 1.5])
def test_certify_refuses_a_target_outside_0_and_1(target):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        certify([], target)


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(1, 100), st.sampled_from([0.8, 0.9, 0.95]))
def test_more_labels_without_an_error_never_certify_less(labels, more, target):
    fewer, further = (
        certify(make_documents(*[True] * labels), target),
        certify(make_documents(*[True] * (labels + more)), target),
    )
    assert (further.bound or 0) >= (fewer.bound or 0)
    assert (further.share or 0) >= (fewer.share or 0)
    assert further.needed <= fewer.needed
    assert further.feasible > fewer.feasible


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.4, 0.9]), st.booleans()), max_size=150), st.sampled_from([0.7, 0.9]))
def test_certified_share_reaches_the_target_in_its_labels(values, target):
    result = certify([LabelledRow(*value) for value in values], target)
    reached = [right for confidence, right in values if result.threshold is not None and confidence >= result.threshold]
    assert not reached or sum(reached) / len(reached) >= result.bound >= target
    assert (result.needed == 0) == (result.threshold is not None)


def test_bound_of_an_uninformative_score_is_wrong_in_at_most_6_5_percent_of_draws():
    assert measure_wrong_bounds(accuracy=0.9, slope=0, labels=32, target=0.9, levels=12) <= MOST_WRONG


@pytest.mark.slow
@pytest.mark.parametrize("levels", [None, 6])
@pytest.mark.parametrize(
    "slope", [pytest.param(-0.1, marks=pytest.mark.soak), 0, pytest.param(0.1, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize(("accuracy", "labels", "target"), [(0.85, 200, 0.9), (0.9, 200, 0.9), (0.95, 300, 0.95)])
def test_bound_is_wrong_in_at_most_6_5_percent_of_draws(accuracy, labels, target, slope, levels):
    """The score ranks right, ranks the wrong way round, or is uninformative, with and without ties."""
    wrong = measure_wrong_bounds(accuracy=accuracy, slope=slope, labels=labels, target=target, levels=levels)
    assert wrong <= MOST_WRONG
