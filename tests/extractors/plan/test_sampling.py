"""sampling.py: what is drawn, and what it says of the whole."""

import random
from collections import Counter
from decimal import Decimal

import pytest

from extractors.core.errors import ConfigurationError
from extractors.plan.sampling import Sample, apportion, interval, reservoir_sample, sample_of


@pytest.mark.parametrize(
    ("asked", "wanted"), [(None, Sample(20_000, 2_000, for_waits=True)), ("all", None), ("500", Sample(500, 500))]
)
def test_a_sample_is_taken_where_it_is_asked_for_or_a_header_is_a_request(asked, wanted):
    """A folder is looked at whole unless a number is named, a large bucket is not unless `all` is."""
    assert sample_of(asked) == wanted


@pytest.mark.parametrize("asked", ["0", "1", "-5", "many", "2.5", "", "٣٣"])
def test_what_is_no_sample_is_refused(asked):
    """The refusal names the flag, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=r"--sample .*use a whole number from 2 on, or all"):
        sample_of(asked)


def test_few_are_taken_whole():
    """Up to the number above which a sample is drawn, nothing is left out."""
    assert reservoir_sample(range(10), Sample(10, 3), "") == (list(range(10)), 10)


def test_many_are_drawn_from_in_their_order():
    """As many as asked for, none twice, and the whole is counted."""
    kept, count = reservoir_sample(iter(range(1000)), Sample(100, 30), "seed")
    assert (len(set(kept)), kept, count) == (30, sorted(kept), 1000)


def test_the_same_source_gives_the_same_sample():
    """Two estimates agree."""
    assert reservoir_sample(range(1000), Sample(10, 5), "a") == reservoir_sample(range(1000), Sample(10, 5), "a")
    assert reservoir_sample(range(1000), Sample(10, 5), "a") != reservoir_sample(range(1000), Sample(10, 5), "b")


def test_each_is_as_likely_as_any_other():
    """The first, those around the threshold and the last."""
    often = Counter(item for seed in range(2000) for item in reservoir_sample(range(30), Sample(12, 6), str(seed))[0])
    assert all(300 < often[item] < 500 for item in range(30))  # 400 are expected, with a deviation of 18


@pytest.mark.parametrize(
    ("counts", "total", "wanted"),
    [
        ({"a": 1, "b": 1, "c": 1}, 100, {"a": 34, "b": 33, "c": 33}),
        ({"a": 7, "b": 1}, 8000, {"a": 7000, "b": 1000}),
        ({}, 5, {}),
    ],
)
def test_counts_keep_their_sum(counts, total, wanted):
    """Scaled counts are whole and add up."""
    assert apportion(counts, total) == wanted


def test_nineteen_of_twenty_intervals_hold_the_truth():
    """95 % means it, on costs as skewed as images'."""
    chance = random.Random(7)
    costs = [Decimal(chance.choice([1, 1, 1, 2, 4, 8])) for _ in range(2000)]
    intervals = [interval(reservoir_sample(costs, Sample(200, 200), str(seed))[0], 2000) for seed in range(400)]
    held = sum(low <= sum(costs) <= high for low, high in intervals)
    assert 0.92 < held / 400 < 0.98


def test_a_sample_of_equals_is_certain():
    """Where all cost the same there is nothing to be unsure of."""
    assert interval([Decimal("0.5")] * 10, 1000) == (Decimal(500), Decimal(500))


def test_an_unknown_price_has_no_interval():
    """None in, None out."""
    assert interval([None] * 10, 1000) is None
