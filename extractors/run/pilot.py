"""Pilot: looks at the first documents of a run, and at more now and then, before the rest is paid for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.core.errors import Failing
from extractors.core.totals import RunTotals

if TYPE_CHECKING:
    from extractors.core.errors import RunError

FIRST, EVERY = 200, 1000  # documents, accepted or failed
MOST_FAILED = 0.5
MOST_COST = 2  # times the high estimate


@dataclass(slots=True)
class FailureGuard:
    """Told what became of each document; says when too many fail or cost too much."""

    fail_above: float = 0.0
    _totals: RunTotals = field(default_factory=RunTotals)
    _next: int = FIRST

    def observe(self, totals: RunTotals) -> RunError | None:
        """One more document has ended; the error that stops the run, when it is time."""
        self._totals += totals
        sent = self._totals.accepted + self._totals.failed
        if sent < self._next:
            return None
        self._next += EVERY
        share, most = self._totals.failed / sent, max(MOST_FAILED, self.fail_above)
        if share > most:
            return Failing(f"{self._totals.failed} of the first {sent} documents failed, more than {most:.0%}")
        cost, high = self._totals.cost_usd, self._totals.estimated.high
        if cost is not None and high is not None and cost > MOST_COST * high:
            each, expected = cost / sent, high / sent
            return Failing(
                f"{sent} documents cost ${each:.6f} each, over twice the highest estimate of ${expected:.6f}"
            )
        return None
