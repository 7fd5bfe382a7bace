"""The values that pass between stages, in pipeline order, and the protocols of what stages are given.

    Found -> Document -> BilledPage -> Planned -> Prepared -> (CallRequest -> Attempt, Reply, Verdict)
          -> Accepted | Copied | Failed | Unfinished

All are frozen values. Sizes are pixels, upright (after EXIF); money is dollars as Decimal; times are UTC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extractors.core.calls import Attempt, Billing, CallRequest, Journal, Outcome, Permits, Refusal, Reply, Verdict
    from extractors.core.documents import (
        REJECT_REASONS,
        SETTING_KINDS,
        UNSEEN,
        UNSENT,
        Action,
        BilledPage,
        Document,
        Found,
        Header,
        LadderStep,
        Name,
        Planned,
        PlannedPage,
        Prepared,
        Problem,
        Stage,
        Store,
        modified_of,
        version_of,
    )
    from extractors.core.evidence import Evidence, FieldEvidence, Quality
    from extractors.core.outcomes import (
        DIFFERS,
        DONE,
        NEW,
        NO_REDO,
        RETRY,
        Accepted,
        AnswerOrigin,
        Copied,
        DocumentOutcome,
        DocumentResult,
        Failed,
        Fingerprint,
        Redo,
        RedoScope,
        RunInfo,
        Unfinished,
    )

__all__ = [
    "DIFFERS",
    "DONE",
    "NEW",
    "NO_REDO",
    "REJECT_REASONS",
    "RETRY",
    "SETTING_KINDS",
    "UNSEEN",
    "UNSENT",
    "Accepted",
    "Action",
    "AnswerOrigin",
    "Attempt",
    "BilledPage",
    "Billing",
    "CallRequest",
    "Copied",
    "Document",
    "DocumentOutcome",
    "DocumentResult",
    "Evidence",
    "Failed",
    "FieldEvidence",
    "Fingerprint",
    "Found",
    "Header",
    "Journal",
    "LadderStep",
    "Name",
    "Outcome",
    "Permits",
    "Planned",
    "PlannedPage",
    "Prepared",
    "Problem",
    "Quality",
    "Redo",
    "RedoScope",
    "Refusal",
    "Reply",
    "RunInfo",
    "Stage",
    "Store",
    "Unfinished",
    "Verdict",
    "modified_of",
    "version_of",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Imports the module of a value when it is first used: help and errors of the command need none of them."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for module in ("documents", "outcomes", "calls", "evidence"):
            values = vars(import_module(f"{__name__}.{module}"))
            if name in values:
                globals()[name] = values[name]
                return values[name]
        raise AttributeError(name)
