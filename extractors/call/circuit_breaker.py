"""Stops a run whose server does not answer, or refuses every call."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from extractors.core.errors import Failing, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.call.faults import Fault
    from extractors.core.errors import RunError

FAILING_SECONDS = 60.0
REFUSED_SECONDS = 1800.0
# Calls with status 403 before any was answered or refused for its content, or one after another without an answer
# between them: then the key is refused, not the length.
FORBIDDEN_LIMIT = 10


@dataclass(slots=True)
class CircuitBreaker:
    """Counts how the calls of a run end. Any answer, accepted or not, closes the breaker again.

    `trusted` is set once a call was answered: the key is accepted, so a single 403 may be about one document.
    """

    clock: Callable[[], float] = time.monotonic
    _failing_since: float | None = None
    _refused_since: float | None = None
    trusted: bool = False
    _forbidden: int = 0
    _client_errors: int = 0
    _last: str = field(default="")

    def record_answer(self) -> None:
        """Records a call that was answered."""
        self.trusted = True
        self._forbidden = 0
        self._failing_since = self._refused_since = None

    def record_failure(self, fault: Fault) -> RunError | None:
        """Records a call that failed. Returns the error that stops the run once there is one."""
        now, self._last = self.clock(), fault.message
        if fault.status == httpx.codes.FORBIDDEN and (fault.doubtful or not self.trusted):  # others' for a key
            self._forbidden += 1
        elif fault.outcome == "client_error":
            self._client_errors += 1
        if fault.outcome == "rate_limited" or (fault.outcome == "capacity" and fault.wait is not None):
            # The server is up and says when to send again.
            self._failing_since = None
            self._refused_since = now if self._refused_since is None else self._refused_since
        else:
            self._failing_since = now if self._failing_since is None else self._failing_since
        return self.check_forbidden(FORBIDDEN_LIMIT) or self._check_last_calls() or self._check_duration(now)

    def check_forbidden(self, least: int = 1) -> RunError | None:
        """Returns the error when at least so many calls ended with 403, and none was answered or refused for its content."""
        if self.trusted or self._client_errors or self._forbidden < least:
            return None
        return Refused(f"every call was forbidden: check the key and what it may use (the server says: {self._last})")

    def _check_last_calls(self) -> RunError | None:
        if not self.trusted or self._forbidden < FORBIDDEN_LIMIT:
            return None
        calls = f"the last {self._forbidden} calls were forbidden"
        return Refused(f"{calls}: check the key and what it may use (the server says: {self._last})")

    def _check_duration(self, now: float) -> RunError | None:
        if self._failing_since is not None and now - self._failing_since >= FAILING_SECONDS:
            return Failing(f"no call was answered for {FAILING_SECONDS:.0f} s (last: {self._last})")
        if self._refused_since is not None and now - self._refused_since >= REFUSED_SECONDS:
            return Refused(f"every call was refused for {REFUSED_SECONDS / 60:.0f} minutes (last: {self._last})")
        return None
