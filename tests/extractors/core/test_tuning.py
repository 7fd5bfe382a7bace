"""tuning.py: a tuning is stored as JSON, compared by its protocol, and its ladder validated."""

import re
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from extractors.core.tuning import Ladder, Tuning, TuningProtocol, parse_tuning

PROTOCOL = TuningProtocol(
    endpoint="https://api.example/v1",
    model="vision-1",
    schema_name="receipt",
    schema_hash="a1",
    prompt_hash="b2",
    mode="json_schema",
)


def tuning(**values):
    return Tuning(
        protocol=PROTOCOL, measured_at=datetime(2026, 11, 30, tzinfo=UTC), run="20261130T100000Z-aaaa", **values
    )


def test_tuning_round_trips_through_json_and_gives_field_thresholds():
    """A field without a threshold has the threshold of all fields."""
    stored = tuning(
        ladder=Ladder(rule="formula", budgets=(1601, 6404)),
        climb_below={"total": 0.9},
        climb_below_all=0.6,
        score={"intercept": -1.5, "means": [0.1]},
        ranks=True,
    )
    restored = parse_tuning(stored.model_dump_json())
    assert restored == stored
    assert (restored.threshold("total"), restored.threshold("company")) == (0.9, 0.6)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "protocol"),
        (tuning().model_dump_json().replace('"climb_below":{}', '"climb_below":{"total":1.5}'), "climb_below.total"),
    ],
)
def test_parse_tuning_raises_one_line_that_names_the_invalid_field(body, place):
    with pytest.raises(ValueError, match=re.escape(place)) as raised:
        parse_tuning(body)
    assert "\n" not in str(raised.value)


def test_differences_names_the_fields_that_differ():
    other = PROTOCOL.model_copy(update={"prompt_hash": "c3", "mode": "tools"})
    assert PROTOCOL.differences(other) == ["instructions or sampling", "mode"]
    assert PROTOCOL.differences(PROTOCOL.model_copy()) == []


def test_limits_of_shares_depend_on_the_image_and_those_of_budgets_do_not():
    """Shares are multiplied by the image's own bill; budgets are the same for every image."""
    assert Ladder(rule="qwen3", shares=(0.25, 1)).limits(1000) == (250, 1000)
    assert Ladder(rule="formula", budgets=(1601, 6404)).limits(1000) == (1601, 6404)


@pytest.mark.parametrize(
    "rungs", [{}, {"budgets": (1,), "shares": (1,)}, {"budgets": (3202, 1601)}, {"shares": (1, 1.5)}]
)
def test_ladder_without_rising_budgets_or_shares_is_refused(rungs):
    """A ladder has budgets or shares, not both."""
    with pytest.raises(ValidationError):
        Ladder(rule="formula", **rungs)
