"""moments.py: a window holds what lies between its ends, both included."""

from datetime import UTC, datetime, timedelta

import pytest

from extractors.config.time_window import Window, moment, parsed
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
    assert Window(NOON, NOON + timedelta(hours=2)).holds(modified) is held


@pytest.mark.parametrize(
    ("window", "held"), [(Window(since=NOON), [False, True, True]), (Window(until=NOON), [True, True, False])]
)
def test_an_end_that_is_not_given_is_open(window, held):
    """Since then, or until then."""
    assert [window.holds(NOON + step) for step in (-TICK, 0 * TICK, TICK)] == held
    assert not window.holds(None)


def test_no_window_holds_everything():
    """What has no known time, too."""
    assert Window().holds(NOON)
    assert Window().holds(None)


def test_a_days_end_is_its_last_microsecond():
    """And its beginning midnight."""
    assert parsed("2026-11-20", end=True) - parsed("2026-11-20") == timedelta(days=1) - TICK


def test_a_flag_that_is_no_moment_is_named():
    """By its name, its value and how to write it."""
    with pytest.raises(ConfigurationError, match=r"^--since 'then' is no UTC day or time: write 2026-11-20 or"):
        moment("--since", "then")


def test_a_flag_that_is_not_given_is_no_moment():
    assert moment("--since", None) is None
