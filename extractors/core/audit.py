"""Audit: how many accepted documents were read again at the top rung, and how many of these answers agree."""

from __future__ import annotations

import json
from decimal import Decimal
from math import comb
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.plain_values import canonical_text
from extractors.core.shares import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SIGNIFICANT = 0.01  # a run every night would reach 5 % by chance within a month


class AuditCounts(NamedTuple):
    """The documents whose answer was accepted at the top rung, too, and those of them with the same value in every field."""

    audited: int = 0
    agreed: int = 0

    def plus(self, other: AuditCounts) -> AuditCounts:
        """Both together."""
        return AuditCounts(self.audited + other.audited, self.agreed + other.agreed)

    @property
    def disagreed(self) -> int:
        """The documents of which a field differs."""
        return self.audited - self.agreed

    @property
    def words(self) -> str:
        """The share of documents that differ, with its 95 % interval."""
        if not self.audited:
            return "none was compared"
        low, high = wilson(self.disagreed, self.audited)
        share = f"{100 * self.disagreed / self.audited:.1f} %"
        return f"{self.disagreed:,} of {self.audited:,} differ ({share}; {100 * low:.1f} to {100 * high:.1f} %)"

    def differs_more_than(self, earlier: AuditCounts) -> bool:
        """Whether more documents differ than earlier ones did, beyond chance (Fisher's exact test, one-sided, 1 %)."""
        total, differing = self.audited + earlier.audited, self.disagreed + earlier.disagreed
        if not (self.audited and earlier.audited):
            return False
        drawn = range(self.disagreed, min(differing, self.audited) + 1)
        ways = sum(comb(differing, each) * comb(total - differing, self.audited - each) for each in drawn)
        return ways < SIGNIFICANT * comb(total, self.audited)


def have_same_values(fields: Iterable[str], row: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether two rows of results agree in all these fields, as tunings compare answers: texts without case and spacing."""
    return all(_canonical(row.get(name)) == _canonical(other.get(name)) for name in fields)


def _canonical(cell: object) -> str:
    """The cell in one form; a text that holds a JSON structure is read."""
    if isinstance(cell, str) and cell.lstrip()[:1] in {"{", "["}:
        try:
            return canonical_text(json.loads(cell, parse_float=Decimal))
        except ValueError:
            return canonical_text(cell)
    return canonical_text(cell)
