"""The nouns in pipeline order, and the protocols by which stages reach what is not theirs. A leaf.

    Found -> Grouped -> Billed -> Planned -> Prepared -> (Order -> Attempt, Reply, Verdict)
          -> Accepted | Copied | Failed | Left

All are frozen values. Sizes are pixels, upright (after EXIF); money is dollars as Decimal; times are UTC.
"""

from __future__ import annotations

from extractors.core.calls import Attempt, Billing, Journal, Order, Outcome, Permits, Reply, Verdict
from extractors.core.documents import (
    REJECT_REASONS,
    UNSEEN,
    UNSENT,
    Action,
    Billed,
    Flaw,
    Found,
    Grouped,
    Header,
    Name,
    Planned,
    PlannedPage,
    Prepared,
    Stage,
    Step,
    Store,
    modified_of,
    version_of,
)
from extractors.core.outcomes import DIFFERS, DONE, NEW, RETRY, Accepted, Asked, Copied, Done, Failed, Left, Terms

__all__ = [
    "DIFFERS",
    "DONE",
    "NEW",
    "REJECT_REASONS",
    "RETRY",
    "UNSEEN",
    "UNSENT",
    "Accepted",
    "Action",
    "Asked",
    "Attempt",
    "Billed",
    "Billing",
    "Copied",
    "Done",
    "Failed",
    "Flaw",
    "Found",
    "Grouped",
    "Header",
    "Journal",
    "Left",
    "Name",
    "Order",
    "Outcome",
    "Permits",
    "Planned",
    "PlannedPage",
    "Prepared",
    "Reply",
    "Stage",
    "Step",
    "Store",
    "Terms",
    "Verdict",
    "modified_of",
    "version_of",
]
