"""The values that pass between stages, in pipeline order, and the protocols of what stages are given.

    Found -> Document -> Billed -> Planned -> Prepared -> (CallRequest -> Attempt, Reply, Verdict)
          -> Accepted | Copied | Failed | Unfinished

All are frozen values. Sizes are pixels, upright (after EXIF); money is dollars as Decimal; times are UTC.
"""

from __future__ import annotations

from extractors.core.calls import Attempt, Billing, CallRequest, Journal, Outcome, Permits, Refusal, Reply, Verdict
from extractors.core.documents import (
    REJECT_REASONS,
    SETTING_KINDS,
    UNSEEN,
    UNSENT,
    Action,
    Billed,
    Document,
    Found,
    Header,
    Name,
    Planned,
    PlannedPage,
    Prepared,
    Problem,
    Stage,
    Step,
    Store,
    modified_of,
    version_of,
)
from extractors.core.outcomes import (
    DIFFERS,
    DONE,
    NEW,
    RETRY,
    Accepted,
    AnswerOrigin,
    Copied,
    DocumentOutcome,
    DocumentResult,
    Failed,
    Fingerprint,
    RunInfo,
    Unfinished,
)

__all__ = [
    "DIFFERS",
    "DONE",
    "NEW",
    "REJECT_REASONS",
    "RETRY",
    "SETTING_KINDS",
    "UNSEEN",
    "UNSENT",
    "Accepted",
    "Action",
    "AnswerOrigin",
    "Attempt",
    "Billed",
    "Billing",
    "CallRequest",
    "Copied",
    "Document",
    "DocumentOutcome",
    "DocumentResult",
    "Failed",
    "Fingerprint",
    "Found",
    "Header",
    "Journal",
    "Name",
    "Outcome",
    "Permits",
    "Planned",
    "PlannedPage",
    "Prepared",
    "Problem",
    "Refusal",
    "Reply",
    "RunInfo",
    "Stage",
    "Step",
    "Store",
    "Unfinished",
    "Verdict",
    "modified_of",
    "version_of",
]
