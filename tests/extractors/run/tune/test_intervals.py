"""intervals.py: exact and Wilson intervals of a share, compared with published values and with scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from extractors.run.tune.intervals import clopper_pearson, lower_bound, trials_needed, upper_bound, wilson

TRIALS = st.integers(1, 500)
COUNTS = TRIALS.flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def test_lower_bounds_of_thirty_successes_in_thirty_trials():
    """The exact one-sided bound is the 30th root of 0.05; the two-sided bounds are lower."""
    assert lower_bound(30, 30) == pytest.approx(0.05 ** (1 / 30))
    assert clopper_pearson(30, 30).low == pytest.approx(0.025 ** (1 / 30))
    assert wilson(30, 30).low == pytest.approx(0.8865, abs=1e-4)


@pytest.mark.parametrize(("target", "errors", "needed"), [(0.99, 0, 299), (0.99, 1, 473), (0.95, 0, 59), (0.9, 2, 61)])
def test_trials_needed_is_the_fewest_that_reach_the_target(target, errors, needed):
    assert trials_needed(target, errors) == needed
    assert lower_bound(needed - errors, needed) >= target > lower_bound(needed - 1 - errors, needed - 1)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (7, 40), (39, 40), (40, 40)])
def test_intervals_are_those_of_scipy(successes, trials):
    reference = binomtest(successes, trials)
    assert clopper_pearson(successes, trials) == pytest.approx(tuple(reference.proportion_ci(method="exact")))
    assert wilson(successes, trials) == pytest.approx(tuple(reference.proportion_ci(method="wilson")))


def test_intervals_without_trials_exclude_nothing():
    assert clopper_pearson(0, 0) == wilson(0, 0) == (0, 1)


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
@pytest.mark.parametrize("counts", [(-1, 3), (4, 3)])
def test_intervals_refuse_counts_that_are_no_share(interval, counts):
    with pytest.raises(ValueError, match="no share"):
        interval(*counts)


@given(COUNTS)
def test_intervals_contain_the_share_and_mirror_that_of_the_errors(counts):
    successes, trials = counts
    for interval in (clopper_pearson, wilson):
        low, high = interval(successes, trials)
        assert 0 <= low <= successes / trials <= high <= 1
        assert interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(COUNTS, st.integers(1, 400))
def test_lower_bound_rises_with_successes_and_falls_with_errors(counts, more):
    successes, trials = counts
    bound = lower_bound(successes, trials)
    assert lower_bound(successes + more, trials + more) > bound
    assert lower_bound(successes, trials + more) <= bound
    assert bound < upper_bound(successes, trials)
    assert lower_bound(successes, trials, 0.99) <= bound


@given(st.floats(0.01, 0.99), st.integers(1, 60))
def test_lower_bound_is_above_the_true_share_in_at_most_5_percent_of_draws(share, trials):
    wrong = sum(binom.pmf(k, trials, share) for k in range(trials + 1) if lower_bound(k, trials) > share)
    assert wrong <= 0.05 + 1e-9
