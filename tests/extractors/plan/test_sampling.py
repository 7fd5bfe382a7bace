"""sampling.py: which documents a sample has, and what it estimates of the whole source."""

import random
from collections import Counter
from decimal import Decimal

import pytest

from extractors.core.errors import ConfigurationError
from extractors.plan.sampling import Sample, apportion, interval, reservoir_sample, sample_of


@pytest.mark.parametrize(
    ("value", "expected"), [(None, Sample(20_000, 2_000, for_waits=True)), ("all", None), ("500", Sample(500, 500))]
)
def test_sample_of_parses_a_number_all_and_the_default(value, expected):
    """By default only a source whose headers need requests is sampled."""
    assert sample_of(value) == expected


@pytest.mark.parametrize("value", ["0", "1", "-5", "many", "2.5", "", "٣٣"])
def test_sample_of_refuses_values_that_are_no_number_from_two_on(value):
    """The error names the flag, the value and the allowed values."""
    with pytest.raises(ConfigurationError, match=r"--sample .*use a whole number from 2 on, or all"):
        sample_of(value)


def test_reservoir_sample_takes_all_items_up_to_the_threshold():
    assert reservoir_sample(range(10), Sample(10, 3), "") == (list(range(10)), 10)


def test_reservoir_sample_draws_distinct_items_in_their_order():
    """It also counts all items."""
    drawn, count = reservoir_sample(iter(range(1000)), Sample(100, 30), "seed")
    assert (len(set(drawn)), drawn, count) == (30, sorted(drawn), 1000)


def test_reservoir_sample_of_one_seed_is_always_the_same():
    """Another seed draws another sample."""
    assert reservoir_sample(range(1000), Sample(10, 5), "a") == reservoir_sample(range(1000), Sample(10, 5), "a")
    assert reservoir_sample(range(1000), Sample(10, 5), "a") != reservoir_sample(range(1000), Sample(10, 5), "b")


def test_reservoir_sample_draws_each_item_equally_often():
    counts = Counter(item for seed in range(2000) for item in reservoir_sample(range(30), Sample(12, 6), str(seed))[0])
    assert all(300 < counts[item] < 500 for item in range(30))  # 400 are expected, with a deviation of 18


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ({"a": 1, "b": 1, "c": 1}, 100, {"a": 34, "b": 33, "c": 33}),
        ({"a": 7, "b": 1}, 8000, {"a": 7000, "b": 1000}),
        ({}, 5, {}),
    ],
)
def test_apportion_scales_counts_to_whole_numbers_of_the_given_sum(counts, total, expected):
    assert apportion(counts, total) == expected


def test_interval_contains_the_true_sum_in_95_percent_of_samples():
    """The costs are as skewed as those of images."""
    random_numbers = random.Random(7)
    costs = [Decimal(random_numbers.choice([1, 1, 1, 2, 4, 8])) for _ in range(2000)]
    intervals = [interval(reservoir_sample(costs, Sample(200, 200), str(seed))[0], 2000) for seed in range(400)]
    hits = sum(low <= sum(costs) <= high for low, high in intervals)
    assert 0.92 < hits / 400 < 0.98


def test_interval_of_equal_costs_has_no_width():
    assert interval([Decimal("0.5")] * 10, 1000) == (Decimal(500), Decimal(500))


def test_interval_of_unknown_costs_is_none():
    assert interval([None] * 10, 1000) is None
