"""The live line of a run on stderr: documents done, rate, spent so far, time left; plain lines when not a terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from extractors.core.totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

LINE_SECONDS = 10.0  # between two lines where lines cannot be rewritten


def terminal(*, stderr: bool = False) -> Console:
    """A console that shows outside words (paths, a server's messages, model names) as they are, never as markup."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


class Progress:
    """Told what became of each document; shows it at a readable pace."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Shows on stderr; `clock` counts seconds."""
        self._console = console or terminal(stderr=True)
        self._clock = clock
        self._started = self._shown = clock()
        self._totals, self._expected = RunTotals(), 0
        self._live = Live(console=self._console, get_renderable=self._text, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Begins to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clears the live line; plain lines stay."""
        if self._console.is_terminal:
            self._live.stop()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hides the live line, as while a question is asked below it."""
        if self._console.is_terminal:
            self._live.stop()
        try:
            yield
        finally:
            if self._console.is_terminal:
                self._live.start()

    def set_total(self, documents: int) -> None:
        """So many documents are to be done, as far as is known."""
        self._expected = documents

    def add(self, totals: RunTotals) -> None:
        """One more document has ended."""
        self._totals += totals
        if not self._console.is_terminal and self._clock() - self._shown >= LINE_SECONDS:
            self._shown = self._clock()
            self._console.print(self.line, highlight=False, soft_wrap=True)

    def notify(self, text: str) -> None:
        """Something that a person should know at once, above the live line."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @property
    def line(self) -> str:
        """The line as it reads now."""
        done, elapsed = self._totals.done, self._clock() - self._started
        rate = done / elapsed if elapsed > 0 else 0.0
        of = f" of {self._expected:,}" if self._expected else ""
        bad = self._totals.bad
        parts = [
            f"{done:,}{of} documents",
            *([f"{bad:,} not accepted"] if bad else []),
            f"{rate:.1f}/s",
            "cost unknown" if self._totals.cost_usd is None else f"${self._totals.cost_usd:.4f} spent",
        ]
        if rate and self._expected > done:
            parts.append(f"{format_duration((self._expected - done) / rate)} left")
        return " · ".join(parts)

    @property
    def share(self) -> float:
        """The part of what is expected that is done, from 0 to 1; 0 while nobody knows what to expect."""
        return min(self._totals.done / self._expected, 1.0) if self._expected else 0.0

    def _text(self) -> Text:
        return Text(self.line)


def format_duration(seconds: float) -> str:
    """Seconds as a person says them: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
