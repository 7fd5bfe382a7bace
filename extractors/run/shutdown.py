"""Brake: what stops a run. The first reason counts; calls on their way may finish for a while, then they are cut."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from extractors.core.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from extractors.call.rate_limit import RateLimiter
    from extractors.core.errors import RunError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """Stops one run; a context manager that listens to signals and to the clock while the run lasts.

    `cutting` once calls on their way are ended, `hurried` when a person asked for it with a second signal.
    """

    def __init__(
        self, limiter: RateLimiter, *, drain: float, max_time: float | None, say: Callable[[str], None]
    ) -> None:
        """`drain` is the seconds that calls on their way are given, `max_time` those of the whole run."""
        self._limiter, self._drain, self._max_time, self._say = limiter, drain, max_time, say
        self._timers: list[asyncio.TimerHandle] = []
        self._signals: list[signal.Signals] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self.error: RunError | None = None
        self.cutting = self.hurried = False

    def __enter__(self) -> Self:
        """Begins to listen; where signals cannot be taken (another thread than the main one), to the clock alone."""
        loop = asyncio.get_running_loop()
        if self._max_time is not None:
            reason = Stopped(f"the time limit of {self._max_time:g} s is reached")
            self._timers.append(loop.call_later(self._max_time, self.stop, reason))
        for number in SIGNALS:
            # Another thread than the main one (ValueError, RuntimeError), or a loop without signals: the clock remains.
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, self._signalled, number)
                self._signals.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the signals back."""
        for timer in self._timers:
            timer.cancel()
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)

    def track(self, task: asyncio.Task[object]) -> None:
        """This task is cut when the calls on their way have had their time."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self, error: RunError) -> None:
        """No document is begun and no call is sent from here on."""
        if self.error is not None:
            return
        self.error = error
        self._limiter.stop(error)
        self._timers.append(asyncio.get_running_loop().call_later(self._drain, self.cancel_calls))

    def cancel_calls(self) -> None:
        """Ends the calls that are still on their way; each is noted as aborted."""
        self.cutting = True
        for task in self._tasks:
            task.cancel()

    def _signalled(self, number: signal.Signals) -> None:
        if self.error is None:
            self._say(f"{number.name}: calls on their way may finish for {self._drain:g} s; once more stops at once")
            self.stop(Stopped(f"{number.name} came"))
        else:
            self.hurried = True
            self.cancel_calls()
