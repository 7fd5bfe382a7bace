"""The progress line of a run on stderr: documents, rate, cost, time left; plain lines without a terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from extractors.core.money import dollars
from extractors.core.totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

LINE_SECONDS = 10.0  # between two lines without a terminal


def terminal(*, stderr: bool = False) -> Console:
    """A console that prints foreign text (paths, server messages, model names) verbatim, never as markup."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


class Progress:
    """Sums the results of documents and shows them at a readable rate."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Prints to stderr; `clock` counts seconds."""
        self._console = console or terminal(stderr=True)
        self._clock = clock
        self._started = self._shown = clock()
        self._totals, self._expected = RunTotals(), 0
        self._live = Live(console=self._console, get_renderable=self._text, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Starts the live line."""
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
        """Sets the expected number of documents."""
        self._expected = documents

    def add(self, totals: RunTotals) -> None:
        """Adds the result of documents."""
        self._totals += totals
        if not self._console.is_terminal and self._clock() - self._shown >= LINE_SECONDS:
            self._shown = self._clock()
            self._console.print(self.line, highlight=False, soft_wrap=True)

    def notify(self, text: str) -> None:
        """Prints a message above the live line."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @property
    def line(self) -> str:
        """The current text of the line."""
        done, elapsed = self._totals.done, self._clock() - self._started
        rate = done / elapsed if elapsed > 0 else 0.0
        of = f" of {self._expected:,}" if self._expected else ""
        bad = self._totals.bad
        parts = [
            f"{done:,}{of} documents",
            *([f"{bad:,} not accepted"] if bad else []),
            f"{rate:.1f}/s",
            "cost unknown" if self._totals.cost_usd is None else f"{dollars(self._totals.cost_usd)} spent",
        ]
        if rate and self._expected > done:
            parts.append(f"{format_duration((self._expected - done) / rate)} left")
        return " · ".join(parts)

    @property
    def totals(self) -> RunTotals:
        """The sums so far."""
        return self._totals

    @property
    def expected(self) -> int:
        """The expected number of documents; 0 while it is unknown."""
        return self._expected

    @property
    def share(self) -> float:
        """The processed share of the expected documents, from 0 to 1; 0 while their number is unknown."""
        return min(self._totals.done / self._expected, 1.0) if self._expected else 0.0

    def _text(self) -> Text:
        return Text(self.line)


def format_duration(seconds: float) -> str:
    """Formats seconds: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
