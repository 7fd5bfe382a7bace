"""time_window.py: a window contains the times between its bounds, both included."""

from datetime import UTC, datetime, timedelta

import pytest

from extractors.config.time_window import TimeWindow, parse_bound, parse_time
from extractors.core.errors import ConfigurationError

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("modified", "expected"),
    [
        (NOON - TICK, False),
        (NOON, True),
        (NOON + timedelta(hours=1), True),
        (NOON + timedelta(hours=2), True),
        (NOON + timedelta(hours=2) + TICK, False),
        (None, False),
    ],
)
def test_window_contains_its_bounds_and_the_times_between(modified, expected):
    """It does not contain an unknown time."""
    assert TimeWindow(NOON, NOON + timedelta(hours=2)).contains(modified) is expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [(TimeWindow(since=NOON), [False, True, True]), (TimeWindow(until=NOON), [True, True, False])],
)
def test_missing_bound_is_open(window, expected):
    """An unknown time is in neither half-open window."""
    assert [window.contains(NOON + step) for step in (-TICK, 0 * TICK, TICK)] == expected
    assert not window.contains(None)


def test_window_without_bounds_contains_everything():
    """Unknown times are included."""
    assert TimeWindow().contains(NOON)
    assert TimeWindow().contains(None)


def test_end_of_a_day_is_its_last_microsecond():
    """A day begins at midnight."""
    assert parse_time("2026-11-20", end=True) - parse_time("2026-11-20") == timedelta(days=1) - TICK


def test_malformed_bound_is_refused():
    """The message names the flag, its value and the expected format."""
    with pytest.raises(ConfigurationError, match=r"^--since 'then' is not a UTC day or time: write 2026-11-20 or"):
        parse_bound("--since", "then")


def test_missing_flag_has_no_bound():
    assert parse_bound("--since", None) is None
