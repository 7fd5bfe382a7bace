"""time_window.py: a window holds what lies between its ends, both included."""

from datetime import UTC, datetime, timedelta

import pytest

from extractors.config.time_window import TimeWindow, parse_bound, parse_time
from extractors.core.errors import ConfigurationError

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("modified", "held"),
    [
        (NOON - TICK, False),
        (NOON, True),
        (NOON + timedelta(hours=1), True),
        (NOON + timedelta(hours=2), True),
        (NOON + timedelta(hours=2) + TICK, False),
        (None, False),
    ],
)
def test_a_window_holds_its_ends_and_what_is_between(modified, held):
    """Of a time that nobody knows it cannot be said."""
    assert TimeWindow(NOON, NOON + timedelta(hours=2)).contains(modified) is held


@pytest.mark.parametrize(
    ("window", "held"), [(TimeWindow(since=NOON), [False, True, True]), (TimeWindow(until=NOON), [True, True, False])]
)
def test_an_end_that_is_not_given_is_open(window, held):
    """Since then, or until then."""
    assert [window.contains(NOON + step) for step in (-TICK, 0 * TICK, TICK)] == held
    assert not window.contains(None)


def test_no_window_holds_everything():
    """What has no known time, too."""
    assert TimeWindow().contains(NOON)
    assert TimeWindow().contains(None)


def test_a_days_end_is_its_last_microsecond():
    """And its beginning midnight."""
    assert parse_time("2026-11-20", end=True) - parse_time("2026-11-20") == timedelta(days=1) - TICK


def test_a_flag_that_is_no_moment_is_named():
    """By its name, its value and how to write it."""
    with pytest.raises(ConfigurationError, match=r"^--since 'then' is not a UTC day or time: write 2026-11-20 or"):
        parse_bound("--since", "then")


def test_a_flag_that_is_not_given_is_no_moment():
    assert parse_bound("--since", None) is None
