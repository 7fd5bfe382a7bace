"""call_counts.py: each call is counted when it ends."""

from collections import Counter
from decimal import Decimal

import pytest

from extractors.core.call_counts import CallCounts, count_call

COST = Decimal("0.01")


@pytest.mark.parametrize(
    ("outcome", "previous", "expected"),
    [
        ("accepted", None, CallCounts(1, cost_usd=COST)),
        ("accepted", "accepted", CallCounts(1, cost_usd=COST)),  # a climb to more pixels
        ("accepted", "rate_limited", CallCounts(1, retries=1, cost_usd=COST)),
        ("rate_limited", None, CallCounts(1, refusals=1, cost_usd=COST)),
        ("capacity", "capacity", CallCounts(1, retries=1, refusals=1, cost_usd=COST)),
        ("not_json", "timeout", CallCounts(1, retries=1, failures=Counter(["not_json"]), cost_usd=COST)),
    ],
)
def test_count_call(make, outcome, previous, expected):
    """A retry is a call that follows a failed call of the same document; a refusal is not counted as a failure."""
    earlier = make.attempt(outcome=previous) if previous else None
    assert count_call(make.attempt(outcome=outcome, billed="yes", cost_usd=COST), earlier) == expected


@pytest.mark.parametrize(("billed", "cost"), [("no", Decimal(0)), ("unknown", Decimal(0)), ("yes", None)])
def test_count_call_adds_the_cost_of_billed_calls(make, billed, cost):
    """A call with unknown billing adds nothing; a billed call without a price makes the sum unknown."""
    assert count_call(make.attempt(billed=billed, cost_usd=None), None).cost_usd == cost


def test_since_returns_the_counts_added():
    before = CallCounts(2, 1, 1, Counter(["timeout"]), COST)
    more = CallCounts(3, 2, 0, Counter(["timeout", "not_json"]), COST)
    assert (before + more).since(before) == more


def test_since_of_an_unknown_cost_is_unknown():
    assert CallCounts(cost_usd=None).since(CallCounts()).cost_usd is None
