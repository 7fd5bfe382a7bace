"""A rate limit like the API's: requests per minute, counted per second, with a small burst."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SAVED = 0.1  # seconds' worth of requests that a quiet moment leaves over
_LEAST = 2.0  # with less, traffic at the limit's own pace would be refused for arriving a little early


class TokenBucket:
    """A token bucket. `clock` gives seconds; `rpm` None means no limit."""

    def __init__(self, rpm: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rpm = rpm
        self._filled_at = clock()
        self._left = self._capacity

    @property
    def rpm(self) -> float | None:
        """Requests per minute; a new value holds from the next request on."""
        return self._rpm

    @rpm.setter
    def rpm(self, rpm: float | None) -> None:
        self._fill()
        self._rpm = rpm
        self._left = min(self._left, self._capacity)

    def take(self) -> bool:
        """Take one request from the bucket; False above the limit."""
        if self._rpm is None:
            return True
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def headers(self) -> dict[str, str]:
        """The headers of a refusal: Retry-After, and the limit, the remainder and the reset per second."""
        short = max(0.0, 1 - self._left)
        return {
            "retry-after": "1",
            "x-ratelimit-limit": f"{self._per_second:g}",
            "x-ratelimit-remaining": f"{int(self._left)}",
            "x-ratelimit-reset": f"{short / self._per_second:.3f}",
        }

    @property
    def _per_second(self) -> float:
        return (self._rpm or 0) / 60

    @property
    def _capacity(self) -> float:
        return max(_LEAST, self._per_second * _SAVED)

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._capacity, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
