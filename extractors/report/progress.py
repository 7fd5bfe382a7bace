"""The progress of a run on stderr: a bar with rate, cost, time left and failures; plain lines without a terminal."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from extractors.core.call_counts import CallCounts
from extractors.core.money import dollars
from extractors.core.totals import RunTotals, sum_totals
from extractors.report.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from decimal import Decimal
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

LINE_SECONDS = 10.0  # between two lines without a terminal
BAR_WIDTH = 40
SHOWN_KINDS = 3  # of failures, below the bar
MAX_PARTS = 32  # totals that are kept before they are added up
SEPARATOR = " · "


class Progress:
    """Sums the results of documents, and shows them: as a bar on a terminal, elsewhere as a line now and then."""

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        budget: Decimal | None = None,
    ) -> None:
        """Prints to stderr; `clock` counts seconds, `budget` limits what the run may spend."""
        self._console = console or terminal(stderr=True)
        self._clock, self._budget = clock, budget
        self._started = self._shown = clock()
        self._parts, self._calls, self._expected = [RunTotals()], CallCounts(), 0
        self._has_bar = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, get_renderable=self._render, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Starts the bar."""
        if self._has_bar:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clears the bar; plain lines stay."""
        if self._has_bar:
            self._live.stop()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hides the bar, as while a question is asked below it; that time does not count for the rate."""
        began = self._clock()
        if self._has_bar:
            self._live.stop()
        try:
            yield
        finally:
            self._started += self._clock() - began
            if self._has_bar:
                self._live.start()

    def set_total(self, documents: int) -> None:
        """Sets the expected number of documents."""
        self._expected = documents

    def add(self, totals: RunTotals) -> None:
        """Adds the result of documents."""
        self._parts.append(totals)
        if len(self._parts) > MAX_PARTS:  # one by one costs more
            self._parts = [self.totals]
        if not self._has_bar and self._clock() - self._shown >= LINE_SECONDS:
            self._shown = self._clock()
            self._console.print(self.line, highlight=False, soft_wrap=True)

    def add_calls(self, counts: CallCounts) -> None:
        """Adds calls that have ended, before their documents do."""
        self._calls += counts

    def notify(self, text: str) -> None:
        """Prints a message above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @property
    def line(self) -> str:
        """The current text of a plain line."""
        bad = [f"{self.totals.bad:,} not accepted"] if self.totals.bad else []
        return SEPARATOR.join([f"{self._count} documents", *bad, *self._pace])

    @property
    def details(self) -> list[str]:
        """What is shown below the bar: pace, retries, refusals, failed calls and failed documents by kind."""
        calls, bad = self._calls, self.totals.bad
        documents = _list_kinds(self.failures) or ([f"{bad:,}"] if bad else [])
        return [
            *self._pace,
            *([_count_noun(calls.retries, "retry", "retries")] if calls.retries else []),
            *([_count_noun(calls.refusals, "refusal", "refusals")] if calls.refusals else []),
            *_head("failed calls", _list_kinds(calls.failures)),
            *_head("failed documents", documents),
        ]

    @property
    def failures(self) -> Counter[str]:
        """The documents without an answer, by kind."""
        kinds = Counter[str]()
        for (_, kind, _), count in self.totals.kinds.items():
            kinds[kind] += count
        return kinds

    @property
    def calls(self) -> CallCounts:
        """The counts of the calls so far."""
        return self._calls

    @property
    def cost_usd(self) -> Decimal | None:
        """The dollars spent so far, also for documents in progress; None when a price is unknown."""
        return self._calls.cost_usd if self._calls.calls else self.totals.cost_usd

    @property
    def _count(self) -> str:
        return f"{self.totals.done:,} of {self._expected:,}" if self._expected else f"{self.totals.done:,}"

    @property
    def _pace(self) -> list[str]:
        """Rate, dollars spent, and time left where that is known."""
        done, elapsed, cost = self.totals.done, self._clock() - self._started, self.cost_usd
        rate = done / elapsed if elapsed > 0 else 0.0
        budget = "" if self._budget is None else f" of {dollars(self._budget)}"
        pace = [f"{rate:.1f}/s", "cost unknown" if cost is None else f"{dollars(cost)}{budget} spent"]
        if rate and self._expected > done:
            pace.append(f"{format_duration((self._expected - done) / rate)} left")
        return pace

    @property
    def totals(self) -> RunTotals:
        """The sums so far."""
        return sum_totals(self._parts)

    @property
    def expected(self) -> int:
        """The expected number of documents; 0 while it is unknown."""
        return self._expected

    @property
    def share(self) -> float:
        """The processed share of the expected documents, from 0 to 1; 0 while their number is unknown."""
        return min(self.totals.done / self._expected, 1.0) if self._expected else 0.0

    def _render(self) -> RenderableType:
        """The bar with its count, and below it as many lines as the details take at this width."""
        width = self._console.width - 1  # a terminal may wrap a line that fills it
        count = f"{self._count} documents"
        if self._expected:
            count += f", {self.share:.0%}".replace("%", " %")
        bar = ProgressBar(
            total=self._expected or None,
            completed=self.totals.done,
            width=max(min(BAR_WIDTH, width - len(count) - 1), 4),
            pulse=not self._expected,
        )
        head = Table.grid(padding=(0, 1))
        head.add_row(bar, Text(count, no_wrap=True, overflow="ellipsis"))
        return Group(head, *(Text(line, no_wrap=True, overflow="ellipsis") for line in fill_lines(self.details, width)))


def fill_lines(parts: Sequence[str], width: int) -> list[str]:
    """Joins parts to lines of at most this width; a part is never divided."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(SEPARATOR) + len(part) <= width:
            lines[-1] += SEPARATOR + part
        else:
            lines.append(part)
    return lines


def _list_kinds(kinds: Counter[str]) -> list[str]:
    """The most frequent kinds, each with its count."""
    most = kinds.most_common(SHOWN_KINDS)
    others = kinds.total() - sum(count for _, count in most)
    return [f"{count:,} {kind}" for kind, count in most] + ([f"{others:,} other"] if others else [])


def _head(title: str, parts: list[str]) -> list[str]:
    """The parts, the first one with a title."""
    return [f"{title}: {parts[0]}", *parts[1:]] if parts else []


def _count_noun(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def format_duration(seconds: float) -> str:
    """Formats seconds: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
