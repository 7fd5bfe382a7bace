"""Shutdown: stops a run. The first reason is kept; calls in flight may finish for a while, then they are cancelled."""

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
    """Stops one run, by a signal, the time limit or an error; a context manager.

    `cancelling`: calls in flight are being cancelled; `stopped_twice`: a second signal asked for that.
    """

    def __init__(
        self, limiter: RateLimiter, *, drain: float, max_time: float | None, say: Callable[[str], None]
    ) -> None:
        """`drain` is the seconds that calls in flight may take to finish, `max_time` the time limit of the run."""
        self._limiter, self._drain, self._max_time, self._say = limiter, drain, max_time, say
        self._timers: list[asyncio.TimerHandle] = []
        self._signals: list[signal.Signals] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self.error: RunError | None = None
        self.cancelling = self.stopped_twice = False

    def __enter__(self) -> Self:
        """Installs signal handlers and the time limit; outside of the main thread, the time limit alone."""
        loop = asyncio.get_running_loop()
        if self._max_time is not None:
            reason = Stopped(f"the time limit of {self._max_time:g} s is reached")
            self._timers.append(loop.call_later(self._max_time, self.stop, reason))
        for number in SIGNALS:
            # Not the main thread (ValueError, RuntimeError), or a loop without signals: the time limit remains.
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, self._handle_signal, number)
                self._signals.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the signal handlers."""
        for timer in self._timers:
            timer.cancel()
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)

    def limit(self, limiter: RateLimiter) -> None:
        """Stops this limiter of calls from here on; at once, if it has stopped."""
        self._limiter = limiter
        if self.error is not None:
            limiter.stop(self.error)

    def track(self, task: asyncio.Task[object]) -> None:
        """Has this task cancelled when the drain is over."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self, error: RunError) -> None:
        """Starts no document and sends no call from here on."""
        if self.error is not None:
            return
        self.error = error
        self._limiter.stop(error)
        self._timers.append(asyncio.get_running_loop().call_later(self._drain, self.cancel_calls))

    def cancel_calls(self) -> None:
        """Cancels the calls in flight; each is recorded as aborted."""
        self.cancelling = True
        for task in self._tasks:
            task.cancel()

    def _handle_signal(self, number: signal.Signals) -> None:
        if self.error is None:
            self._say(
                f"{number.name}: waiting up to {self._drain:g} s for calls in flight; a second signal stops at once"
            )
            self.stop(Stopped(f"{number.name} was received"))
        else:
            self.stopped_twice = True
            self.cancel_calls()


class StopSwitch:
    """Stops a run from outside of it, also before its calls begin."""

    def __init__(self) -> None:
        """Nothing is stopped yet."""
        self.error: RunError | None = None
        self._shutdown: Shutdown | None = None

    def connect(self, shutdown: Shutdown) -> None:
        """From here on this shutdown stops the run; at once, if the run was stopped before."""
        self._shutdown = shutdown
        if self.error is not None:
            shutdown.stop(self.error)

    def stop(self, error: RunError) -> None:
        """Stops the run; the first error is kept."""
        self.error = self.error or error
        if self._shutdown is not None:
            self._shutdown.stop(self.error)
