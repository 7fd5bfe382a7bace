"""How often and how soon a failed call is sent again: tenacity policies, built at run time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from extractors.call.faults import Fault


class CallFault(Exception):  # noqa: N818 - a fault is the noun of this room
    """Carries a fault from one attempt to the policy; never leaves this room."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Retries:
    """Up to `attempts` tries that count; a refusal for rate counts for none: the breaker knows when it is enough.

    The wait is what the server asks for, at least (but for a refusal for rate) one that grows from `first` seconds, doubling up to `longest`; both are spread by
    up to a quarter, so that calls that failed together do not come back together.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    random: random.Random = field(default_factory=random.Random, repr=False)

    def build_policy(self, sleep: Callable[[float], Awaitable[None]], spent: int = 0) -> tenacity.AsyncRetrying:
        """The policy for one call of a document that has used up so many tries; one is left in any case."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            stop=_StopAfterCounted(self.attempts - spent),
            wait=self._compute_wait,
            sleep=sleep,
            reraise=True,
        )

    def _compute_wait(self, retry_state: tenacity.RetryCallState) -> float:
        fault = _get_fault(retry_state)
        backoff: float = min(self.first * 2.0 ** min(retry_state.attempt_number - 1, 20), self.longest)
        if fault.wait is None or (fault.remedy == "retry" and fault.wait < backoff):
            return backoff * self.random.uniform(1.0, 1.25)
        return fault.wait * self.random.uniform(1.0, 1.25)


class _StopAfterCounted(tenacity.stop.stop_base):
    """Stops after so many faults that count; one instance serves one call."""

    def __init__(self, attempts: int) -> None:
        self._left = attempts

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        if _get_fault(retry_state).remedy != "wait":
            self._left -= 1
        return self._left <= 0


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, CallFault) and error.fault.remedy in {"retry", "wait"}


def _get_fault(retry_state: tenacity.RetryCallState) -> Fault:
    assert retry_state.outcome is not None
    error = retry_state.outcome.exception()
    assert isinstance(error, CallFault)
    return error.fault
