"""QualityMonitor: whether the pictures of a run are like those on which its stored score was fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core import Attempt, Fingerprint
    from extractors.core.errors import RunError
    from extractors.core.totals import RunTotals
    from extractors.record.ledger.memory import EndpointMemory

MAX_UNLIKE_SHARE = 0.1  # of the pictures; a few are outside the range of any sample


@dataclass(slots=True)
class QualityMonitor:
    """Reports a mix of sharpness or contrast outside of the range of the labels: the score may not hold for it."""

    compared: int = 0
    unlike: int = 0

    def observe(self, totals: RunTotals, attempts: Sequence[Attempt]) -> RunError | None:
        """Counts the pictures that were compared, and those that differ."""
        del attempts
        self.compared += totals.compared
        self.unlike += totals.unlike
        return None

    def warning(self) -> str | None:
        """Says so if more than a tenth differ, in the same sentence for every shard."""
        if self.unlike <= MAX_UNLIKE_SHARE * self.compared:
            return None
        return (
            "more than a tenth of the pictures are outside the sharpness or contrast of the labelled ones: confidence may not"
            " hold for them; label some of these, and run `tilewise tune --apply` again"
        )

    def remember(self, memory: EndpointMemory, fingerprint: Fingerprint) -> None:
        """Stores nothing."""
