"""The measurements of a tuning: each labelled document as it was read at each rung, and its fields beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from decimal import Decimal

    from extractors.core.evidence import FieldEvidence, Quality

FieldKind = Literal["flag", "number", "date", "time", "choice", "text", "list", "object", "json"]
Draw = Literal[
    "random", "doubtful"
]  # how a labelled document was chosen: by chance, or because its answer was doubtful


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """One read value beside the true one.

    `right` is the verdict, `similarity` runs from 0 to 1. A list counts its true rows, those that no read row matches
    (`missing_rows`) and the read rows that match no true one (`invented_rows`).
    """

    right: bool
    similarity: float
    read_null: bool = False
    true_null: bool = False
    rows: int = 0
    missing_rows: int = 0
    invented_rows: int = 0


@dataclass(frozen=True, slots=True)
class FieldComparison:
    """One labelled field of one document at one rung. A field without a label has no comparison.

    An answer that was not accepted has read nothing: each of its comparisons is wrong.
    """

    document: str
    field: str
    kind: FieldKind
    rung: int
    match: FieldMatch

    @property
    def right(self) -> bool:
        """Whether the value counts as read right."""
        return self.match.right


@dataclass(frozen=True, slots=True)
class Reading:
    """One labelled document, read at one rung.

    `rung` is the position among the measured rungs, 0 the cheapest; the last one is the whole image (`faithful`).
    `call` names the request: rungs that send the same pictures have one call, which a run pays once. `image_tokens` and
    `cost_usd` are of that call, with its repetitions. `answers` has the canonical text of each field that was read
    (`canonical_text`), labelled or not; two readings agree on a field where these texts are equal. `climbs`: where it is
    not accepted, a run reads the next rung (run/retry.py); else the document has failed.
    """

    document: str
    rung: int
    call: str
    accepted: bool
    image_tokens: int
    cost_usd: Decimal | None = None
    comparisons: tuple[FieldComparison, ...] = ()
    evidence: tuple[FieldEvidence, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    quality: Quality | None = None
    draw: Draw = "random"
    climbs: bool = True

    @property
    def right(self) -> bool:
        """Whether each labelled field is right: then the document is."""
        return all(comparison.right for comparison in self.comparisons)

    def agreement(self, lower: Reading | None) -> dict[str, bool]:
        """Whether each field that both readings have was read alike; nothing where one was not accepted."""
        if lower is None or not (self.accepted and lower.accepted):
            return {}
        return {name: lower.answers[name] == text for name, text in self.answers.items() if name in lower.answers}


# The confidence of each field of a reading, given the lower rung's reading from which the document climbed.
Scorer = Callable[[Reading, Reading | None], Mapping[str, float | None]]
