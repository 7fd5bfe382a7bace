"""CallCounts: the calls of a run that have ended so far, counted one by one, before their documents end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from extractors.core.money import sum_known

if TYPE_CHECKING:
    from extractors.core.calls import Attempt

REFUSALS = {"rate_limited", "capacity"}  # outcomes of calls that the server put off


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Counts of calls that have ended, and what they cost; None when a price is unknown.

    `retries` followed a failed call of the same document; `failures` counts by outcome the calls without an accepted
    answer, `refusals` those that the server put off, which are not among them.
    """

    calls: int = 0
    retries: int = 0
    refusals: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    cost_usd: Decimal | None = Decimal(0)

    def __add__(self, other: CallCounts) -> CallCounts:
        """Both together."""
        return CallCounts(
            self.calls + other.calls,
            self.retries + other.retries,
            self.refusals + other.refusals,
            self.failures + other.failures if other.failures else self.failures,
            sum_known((self.cost_usd, other.cost_usd)),
        )

    def since(self, before: CallCounts) -> CallCounts:
        """The calls that came after `before`."""
        cost = None if self.cost_usd is None or before.cost_usd is None else self.cost_usd - before.cost_usd
        return CallCounts(
            self.calls - before.calls,
            self.retries - before.retries,
            self.refusals - before.refusals,
            self.failures - before.failures,
            cost,
        )


def count_call(attempt: Attempt, previous: Attempt | None) -> CallCounts:
    """The counts of one call; `previous` is the call of the same document before it."""
    refused = attempt.outcome in REFUSALS
    return CallCounts(
        calls=1,
        retries=int(previous is not None and previous.outcome != "accepted"),
        refusals=int(refused),
        failures=Counter([] if refused or attempt.outcome == "accepted" else [attempt.outcome]),
        cost_usd=attempt.cost_usd if attempt.billed == "yes" else Decimal(0),
    )
