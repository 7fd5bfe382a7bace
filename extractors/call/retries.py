"""How often and how soon a failed call is sent again: tenacity policies, built at run time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tenacity
from tenacity import wait_exponential_jitter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from extractors.call.reply import Fault


class CallFault(Exception):  # noqa: N818 - a fault is the noun of this room
    """Carries a fault from one attempt to the policy; never leaves this room."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Retries:
    """Up to `attempts` tries that count; a refusal for rate counts for none, but not for longer than `patience` seconds."""

    attempts: int = 6
    patience: float = 1800.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def policy(self) -> tenacity.AsyncRetrying:
        """The policy for one call."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_curable),
            stop=_StopAfterCounted(self.attempts) | tenacity.stop_after_delay(self.patience),
            wait=_wait,
            sleep=self.sleep,
            reraise=True,
        )


_backoff = wait_exponential_jitter(initial=0.5, max=30, jitter=0.5)


class _StopAfterCounted(tenacity.stop.stop_base):
    """Stops after so many faults that count; one instance serves one call."""

    def __init__(self, attempts: int) -> None:
        self._left = attempts

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        if _fault(retry_state).remedy != "later":
            self._left -= 1
        return self._left <= 0


def _curable(error: BaseException) -> bool:
    return isinstance(error, CallFault) and error.fault.remedy in {"again", "later"}


def _wait(retry_state: tenacity.RetryCallState) -> float:
    asked = _fault(retry_state).wait
    return _backoff(retry_state) if asked is None else asked


def _fault(retry_state: tenacity.RetryCallState) -> Fault:
    assert retry_state.outcome is not None
    error = retry_state.outcome.exception()
    assert isinstance(error, CallFault)
    return error.fault
