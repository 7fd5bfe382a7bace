"""What the audit of a run would cost: random documents, read once more at the top of their ladder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.bill import estimate_costs
from extractors.core.money import Costs, dollars

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extractors.bill import Tariff
    from extractors.core import Planned


@dataclass(slots=True)
class AuditEstimate:
    """The documents that have a rung above the first one, and what all of them would cost at the top."""

    size: int
    tariff: Tariff
    documents: int = 0
    costs: Costs = field(default_factory=Costs)

    def add(self, planned: Planned, count: int = 1) -> None:
        """Counts a document, or so many alike, unless it is sent with every pixel or not at all."""
        if planned.problem is not None or planned.rungs < 2:
            return
        steps = planned.steps(planned.rungs - 1)
        costs = sum((estimate_costs(self.tariff, step, first=not number) for number, step in enumerate(steps)), Costs())
        self.documents += count
        self.costs += costs.times(count)

    def extend(self, times: float) -> None:
        """Scales the sums over a sample of the documents."""
        self.documents, self.costs = round(self.documents * times), self.costs.scale(times)

    @property
    def sample(self) -> int:
        """The most documents that are read again: those that climb by themselves are not."""
        return min(self.size, self.documents)

    @property
    def sample_costs(self) -> Costs:
        """What they would cost."""
        return self.costs.scale(self.sample / self.documents) if self.documents else Costs()

    @property
    def words(self) -> str:
        """One line for a person."""
        costs = self.sample_costs
        if not self.documents:
            return "the audit reads nothing: no document is to be sent below the top rung"
        return (
            f"with an audit of up to {self.sample:,} documents, read once more at the top rung: expected"
            f" {dollars(costs.expected)}, at most {dollars(costs.high)}"
        )


def estimate_plan_audit(batches: Iterable[Sequence[Planned]], size: int, tariff: Tariff) -> AuditEstimate:
    """Counts all documents of a stored plan, which comes in batches. Blocks: call it in a thread."""
    result = AuditEstimate(size, tariff)
    for batch in batches:
        for planned in batch:
            result.add(planned)
    return result
