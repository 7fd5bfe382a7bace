"""Redo: the documents that a run processes again, by reason, with their cost; reported before any call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from extractors.core import DIFFERS, DONE, NEW, RETRY
from extractors.core.money import Costs, dollars
from extractors.plan.sampling import apportion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extractors.core import Name

WITHOUT_REDO = {RETRY: "to retry", NEW: "new"}  # reasons for which a run takes documents without --redo


class RedoGroup(NamedTuple):
    """The documents that are taken for one reason, and their estimated cost."""

    documents: int = 0
    costs: Costs = Costs()

    @property
    def price(self) -> str:
        """The estimated cost in words."""
        low, _, high = self.costs.values()
        if low is None or high is None:
            return "at unknown cost"
        return f"for {dollars(low)}" if low == high else f"for {dollars(low)} to {dollars(high)}"


@dataclass(slots=True)
class RedoSummary:
    """The documents that are taken, by the reason that `why` gives; `sampled`: the numbers are scaled from a sample."""

    why: Callable[[Name], str]
    groups: dict[str, RedoGroup] = field(default_factory=dict)
    sampled: bool = False

    def add(self, name: Name, costs: Costs) -> None:
        """Counts one document."""
        reason = self.why(name)
        before = self.groups.get(reason, RedoGroup())
        self.groups[reason] = RedoGroup(before.documents + 1, before.costs + costs)

    def extend(self, total: int, times: float) -> None:
        """Scales the numbers of a sample to `total` documents."""
        counts = apportion({reason: group.documents for reason, group in self.groups.items()}, total)
        self.groups = {
            reason: RedoGroup(counts[reason], group.costs.scale(times)) for reason, group in self.groups.items()
        }
        self.sampled = True

    @property
    def sentence(self) -> str:
        """One line: the documents that are processed again, by reason, and those that are taken anyway."""
        again = [(reason, group) for reason, group in self._in_order() if reason not in WITHOUT_REDO]
        beside = [(reason, group) for reason, group in self._in_order() if reason in WITHOUT_REDO]
        line = "reprocessing: nothing"
        if again:
            whole = _sum(share for _, share in again)
            documents = "1 document" if whole.documents == 1 else f"{whole.documents:,} documents"
            by_reason = ", ".join(f"{group.documents:,} {_describe(reason)}" for reason, group in again)
            line = f"reprocessing: {documents} {whole.price}: {by_reason}"
        others = ", ".join(f"{group.documents:,} {_describe(reason)} {group.price}" for reason, group in beside)
        return line + (f"; and {others}" if others else "") + (" (by a sample)" if self.sampled else "")

    def lines(self) -> list[tuple[str, str]]:
        """The lines of a table: a heading, and each reason with its numbers."""
        each = [(f"  {_describe(reason)}", f"{group.documents:,} {group.price}") for reason, group in self._in_order()]
        return [("to process, by reason", ""), *each]

    def as_json(self) -> dict[str, object]:
        """Documents, and dollars as numbers, by reason."""
        return {
            reason: {
                "documents": group.documents,
                "cost_usd": {
                    name: None if cost is None else float(cost)
                    for name, cost in zip(("low", "expected", "high"), group.costs.values(), strict=True)
                },
            }
            for reason, group in self._in_order()
        }

    def _in_order(self) -> list[tuple[str, RedoGroup]]:
        """Reprocessed documents by number, then retried ones, then new ones."""
        last = [*WITHOUT_REDO]
        return sorted(
            self.groups.items(),
            key=lambda each: (last.index(each[0]) if each[0] in last else -1, -each[1].documents, each[0]),
        )


def _describe(reason: str) -> str:
    if reason == DONE:
        return "done before"
    if reason in DIFFERS:
        return f"with another {reason}"
    return WITHOUT_REDO.get(reason, f"failed with {reason}")


def _sum(groups: Iterable[RedoGroup]) -> RedoGroup:
    documents, costs = 0, Costs()
    for group in groups:
        documents, costs = documents + group.documents, costs + group.costs
    return RedoGroup(documents, costs)
