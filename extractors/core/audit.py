"""Audit: how many accepted documents were read again at the top rung, and how many of these answers agree."""

from __future__ import annotations

from math import comb
from typing import NamedTuple

from extractors.core.shares import wilson

SIGNIFICANT = 0.01  # a run every night would reach 5 % by chance within a month


class AuditCounts(NamedTuple):
    """The documents whose answer was accepted at the top rung, too, and those of them with the same value in every field."""

    audited: int = 0
    agreed: int = 0

    @property
    def disagreed(self) -> int:
        """The documents of which a field differs."""
        return self.audited - self.agreed

    @property
    def words(self) -> str:
        """The share of documents that differ, with its 95 % interval."""
        if not self.audited:
            return "no accepted document was below the top rung"
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
