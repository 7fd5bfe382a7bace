"""How long a server asks to wait, in every form that servers use.

| form | as in |
|---|---|
| seconds | `Retry-After: 7` |
| milliseconds | `retry-after-ms: 250` |
| an HTTP date or an ISO date | `Wed, 18 Nov 2026 11:06:50 GMT`, `2026-11-18T11:06:50Z` |
| a duration | `6m0s`, `1.5s`, `20ms`, `26 seconds`, `PT1M30S` |
| a time in seconds or, with 13 digits, in milliseconds | `1795000012`, `1795000012500` |

Of the headers that tell when a limit is full again, only those bind whose limit is used up.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WAIT = 300.0  # seconds; a server that asks for more is called again after this
EPOCH_SECONDS, EPOCH_MILLISECONDS, EPOCH_MICROSECONDS = 1e9, 1e12, 1e15  # a number above these is a time
_RESETS = (  # with the header that tells how much is left of the same limit
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"),
    ("x-ratelimit-reset-after", "x-ratelimit-remaining"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("x-rate-limit-reset", "x-rate-limit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
)
_NUMBER = re.compile(r"\d{1,17}(\.\d{1,9})?")
_FIRST_NUMBER = re.compile(r"^(\d+(?:\.\d+)?)\s*[,;].*")  # a header that a proxy has doubled
_UNITS = (
    ("d(?:ays?)?", 86400.0),
    ("h(?:(?:ou)?rs?)?", 3600.0),
    ("m(?:in(?:ute)?s?)?", 60.0),
    ("s(?:ec(?:ond)?s?)?", 1.0),
    ("(?:ms(?:ecs?)?|milliseconds?)", 0.001),
)
_DURATION = re.compile(
    "(?:pt?)?" + "".join(rf"(?:(\d{{1,12}}(?:\.\d{{1,9}})?)\s?{unit}(?![a-z]))?[\st]*" for unit, _ in _UNITS)
)
_ANY_UNIT = "|".join(unit for unit, _ in _UNITS)
_IN_WORDS = re.compile(
    rf"(?:(?:try again|retry|retrying) (?:in|after)|wait(?: for)?) ((?:\d+(?:\.\d+)?\s?(?:{_ANY_UNIT})(?![a-z])\s*)+)",
    re.IGNORECASE,
)


def parse_wait(
    headers: Mapping[str, str], *, limited: bool = False, words: str = "", now: float | None = None
) -> float | None:
    """The seconds that the server asks to wait, capped; None where it does not say.

    `limited`: the call was refused for its rate, so the headers that tell of a limit count, and the sentence of the error.
    """
    now = time.time() if now is None else now
    seconds = _parse_retry_after(headers, now)
    if seconds is None and limited:
        seconds = _parse_resets(headers, now)
    if seconds is None and limited and (matched := _IN_WORDS.search(words)):
        seconds = _parse_duration(matched[1])
    return None if seconds is None else min(max(seconds, 0.0), MAX_WAIT)


def _parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    milliseconds = headers.get("retry-after-ms", "").strip().removesuffix("ms")
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    return parse_time(headers.get("retry-after", ""), now)


def _parse_resets(headers: Mapping[str, str], now: float) -> float | None:
    """The longest wait for a limit that is used up, or that does not tell what is left of it."""
    waits = [
        seconds
        for reset, remaining in _RESETS
        if not _is_left(headers.get(remaining, "")) and (seconds := parse_time(headers.get(reset, ""), now)) is not None
    ]
    return max(waits, default=None)


def _is_left(remaining: str) -> bool:
    return _NUMBER.fullmatch(remaining.strip()) is not None and float(remaining) > 0


def parse_time(value: str, now: float) -> float | None:
    """Seconds from now until this time, or of this duration; None where it is neither."""
    value = _FIRST_NUMBER.sub(r"\1", value.strip(' "+'))
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number > EPOCH_MICROSECONDS:
            return number / 1_000_000 - now
        if number > EPOCH_MILLISECONDS:
            return number / 1000 - now
        return number - now if number > EPOCH_SECONDS else number
    duration = _parse_duration(value)
    return duration if duration is not None else _parse_date(value, now)


def _parse_duration(value: str) -> float | None:
    matched = _DURATION.fullmatch(value.strip().lower())
    if not matched or not any(matched.groups()):
        return None
    return sum(float(amount) * seconds for amount, (_, seconds) in zip(matched.groups(), _UNITS, strict=True) if amount)


def _parse_date(value: str, now: float) -> float | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = parse(value)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            continue
    return None
