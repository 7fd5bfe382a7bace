"""again: what is done again, and why, in documents and dollars: said before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from extractors.core import DIFFERS, DONE, NEW, RETRY
from extractors.core.money import Costs, dollars
from extractors.plan.sampling import apportion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extractors.core import Name

CENT = Decimal("0.01")
ANYWAY = {RETRY: "to try again", NEW: "new"}  # what is taken without being asked for, in words


class RedoGroup(NamedTuple):
    """The documents that are taken for one cause, and what they would cost."""

    documents: int = 0
    costs: Costs = Costs()

    @property
    def price(self) -> str:
        """What they would cost, in words."""
        low, _, high = self.costs.values()
        if low is None or high is None:
            return "for nobody knows how much"
        return f"for {_dollars(low)}" if low == high else f"for {_dollars(low)} to {_dollars(high)}"


@dataclass(slots=True)
class RedoSummary:
    """The documents that are taken, by cause, which `why` tells; `sampled`: a sample speaks for all of them."""

    why: Callable[[Name], str]
    shares: dict[str, RedoGroup] = field(default_factory=dict)
    sampled: bool = False

    def add(self, name: Name, costs: Costs) -> None:
        """Counts one document."""
        cause = self.why(name)
        before = self.shares.get(cause, RedoGroup())
        self.shares[cause] = RedoGroup(before.documents + 1, before.costs + costs)

    def extend(self, total: int, times: float) -> None:
        """Makes those of a sample those of `total` documents, so many times as much."""
        counts = apportion({cause: share.documents for cause, share in self.shares.items()}, total)
        self.shares = {
            cause: RedoGroup(counts[cause], share.costs.scale(times)) for cause, share in self.shares.items()
        }
        self.sampled = True

    @property
    def sentence(self) -> str:
        """All of it on one line: what is done again, by cause, and what is taken beside it."""
        again = [(cause, share) for cause, share in self._in_order() if cause not in ANYWAY]
        beside = [(cause, share) for cause, share in self._in_order() if cause in ANYWAY]
        said = "to do again: nothing"
        if again:
            whole = _sum(share for _, share in again)
            documents = "1 document" if whole.documents == 1 else f"{whole.documents:,} documents"
            by_cause = ", ".join(f"{share.documents:,} {_words(cause)}" for cause, share in again)
            said = f"to do again: {documents} {whole.price}: {by_cause}"
        others = ", ".join(f"{share.documents:,} {_words(cause)} {share.price}" for cause, share in beside)
        return said + (f"; and {others}" if others else "") + (" (by a sample)" if self.sampled else "")

    def lines(self) -> list[tuple[str, str]]:
        """Lines of a table: a heading, and each cause with its numbers."""
        each = [(f"  {_words(cause)}", f"{share.documents:,} {share.price}") for cause, share in self._in_order()]
        return [("to do, by cause", ""), *each]

    def as_json(self) -> dict[str, object]:
        """By cause: documents, and dollars as numbers."""
        return {
            cause: {
                "documents": share.documents,
                "cost_usd": {
                    name: None if cost is None else float(cost)
                    for name, cost in zip(("low", "expected", "high"), share.costs.values(), strict=True)
                },
            }
            for cause, share in self._in_order()
        }

    def _in_order(self) -> list[tuple[str, RedoGroup]]:
        """What is done again by number, then what is tried again, then what is new."""
        last = [*ANYWAY]
        return sorted(
            self.shares.items(),
            key=lambda each: (last.index(each[0]) if each[0] in last else -1, -each[1].documents, each[0]),
        )


def _words(cause: str) -> str:
    if cause == DONE:
        return "done before"
    if cause in DIFFERS:
        return f"with another {cause}"
    return ANYWAY.get(cause, f"failed with {cause}")


def _sum(shares: Iterable[RedoGroup]) -> RedoGroup:
    documents, costs = 0, Costs()
    for share in shares:
        documents, costs = documents + share.documents, costs + share.costs
    return RedoGroup(documents, costs)


def _dollars(amount: Decimal) -> str:
    """Cents say enough of what costs some."""
    return f"${amount:,.2f}" if amount >= CENT else dollars(amount)
