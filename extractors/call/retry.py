"""Retries of one call after a network or server error: tenacity policies, built at run time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import tenacity

    from extractors.call.faults import Fault

    Sleep = Callable[[float], Awaitable[None]]

Answer = TypeVar("Answer")

# Seconds between two tries of a call that was refused for its rate by a server that names no time: the rate limiter has
# lowered the rate already.
LONGEST_LIMITED = 8.0


class CallFault(Exception):  # noqa: N818 - carries a `Fault`
    """Carries a fault from one attempt to the policy; never leaves this package."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Retries:
    """Up to `attempts` tries. A refusal for rate does not count: the circuit breaker limits those.

    The wait is the one that the server asks for, and at least a backoff, which doubles from `first` up to `longest`
    seconds; a refusal for rate has no such minimum. Both are spread by up to a quarter, so that calls that failed together
    are not sent again together.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    random: random.Random = field(default_factory=random.Random, repr=False)

    async def run(self, send: Callable[[], Awaitable[Answer]], sleep: Sleep, spent: int = 0) -> Answer:
        """Sends until there is an answer, for a document that has used up `spent` tries; at least one is left.

        Raises the last CallFault. A policy is built for calls that fail only.
        """
        try:
            return await send()
        except CallFault as error:
            first = [error]

        async def send_again() -> Answer:
            if first:
                raise first.pop()
            return await send()

        return await self._build_policy(sleep, spent)(send_again)

    def _build_policy(self, sleep: Sleep, spent: int) -> tenacity.AsyncRetrying:
        import tenacity  # noqa: PLC0415 - only a call that failed needs it

        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            stop=_StopAfterCounted(self.attempts - spent),
            wait=self._compute_wait,
            sleep=sleep,
            reraise=True,
        )

    def _compute_wait(self, retry_state: tenacity.RetryCallState) -> float:
        fault = _get_fault(retry_state)
        longest = min(self.longest, LONGEST_LIMITED) if fault.remedy == "wait" else self.longest
        backoff: float = min(self.first * 2.0 ** min(retry_state.attempt_number - 1, 20), longest)
        if fault.wait is None or (fault.remedy == "retry" and fault.wait < backoff):
            return backoff * self.random.uniform(1.0, 1.25)
        return fault.wait * self.random.uniform(1.0, 1.25)


class _StopAfterCounted:
    """Stops after this many faults that count; one instance serves one call."""

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
