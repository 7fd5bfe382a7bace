"""UTC days and times as users write them, and the window between two of them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from extractors.core.errors import ConfigurationError

TIME_FORMATS = "write 2026-11-20 or 2026-11-20T02:15:00"


class TimeWindow(NamedTuple):
    """A span of time, both ends inclusive; a missing end is open."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it has an end."""
        return self.since is not None or self.until is not None

    def contains(self, modified: datetime | None) -> bool:
        """Whether this time lies within; an unknown time lies in no bounded window."""
        if not self.is_bounded:
            return True
        if modified is None or (self.since and modified < self.since):
            return False
        return self.until is None or modified <= self.until


def parse_time(value: str, *, end: bool = False) -> datetime:
    """Parses a UTC day or time; the `end` of a day is its last microsecond. Raises ValueError for other text."""
    try:
        if len(value) <= len("2026-11-20"):
            return datetime.combine(date.fromisoformat(value), time.max if end else time.min, UTC)
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"not a UTC day or time: {TIME_FORMATS}") from None


def parse_bound(flag: str, value: str | None, *, end: bool = False) -> datetime | None:
    """Parses the time of a flag, if it is set. Raises ConfigurationError for other text."""
    if value is None:
        return None
    try:
        return parse_time(value, end=end)
    except ValueError as error:
        raise ConfigurationError(f"{flag} {value!r} is {error}") from None


def parse_age(flag: str, value: str) -> timedelta:
    """Parses the age of a flag: `90d`, `12h`. Raises ConfigurationError for other text."""
    written = re.fullmatch(r"(\d{1,6})\s*([hd])", value.strip())
    if not written:
        raise ConfigurationError(f"{flag} {value!r} is not an age: use the form 90d or 12h")
    return timedelta(**{{"h": "hours", "d": "days"}[written[2]]: int(written[1])})
