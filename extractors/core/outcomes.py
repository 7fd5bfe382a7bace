"""What a run's rows have in common, and how a document can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from extractors.core.documents import REJECT_REASONS, UNSENT
from extractors.core.money import sum_known

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from pydantic import BaseModel

    from extractors.core.calls import Attempt, Refusal, Reply
    from extractors.core.documents import LadderStep, Planned, Problem
    from extractors.core.evidence import Evidence, Quality, Sightings
    from extractors.core.money import Price

# Why a document is processed again, beside the kinds of failures: it never ended, it may be retried, it was accepted;
# and what may differ between how it was read and how it would be read today.
NEW, RETRY, DONE = "new", "retry", "done"
DIFFERS = ("schema", "prompt", "model")


Redo = Literal["failed", "changed", "reparse", "all"]


@dataclass(frozen=True, slots=True)
class RedoScope:
    """Which documents are processed again: failures of a kind only, and only what ended before a time."""

    redo: Redo | None = None
    kind: str | None = None
    before: datetime | None = None


NO_REDO = RedoScope()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What determines an answer beside the image: runs with the same fingerprint read a document in the same way."""

    endpoint: str
    model: str
    schema: str
    schema_hash: str
    prompt_hash: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What all rows of a run share.

    `job` is the job as JSON, `flow_run` the orchestrator's id of the run. `review_below` is the confidence below which the
    stored tuning has documents reviewed; None where it has no such threshold.
    """

    run: str
    started_at: datetime
    source: str
    output: str
    fingerprint: Fingerprint
    policy: str
    bill_rule: str
    price: Price | None = None
    flow: str = "run"
    job: str = "{}"
    flow_run: str | None = None
    approved_by: str | None = None
    review_below: float | None = None

    @property
    def run_date(self) -> str:
        """The UTC day on which the run started: the partition of all its rows."""
        return self.started_at.date().isoformat()

    @property
    def endpoint(self) -> str:
        """The endpoint's address, or `offline`."""
        return self.fingerprint.endpoint

    @property
    def model(self) -> str:
        """The requested model."""
        return self.fingerprint.model

    @property
    def schema(self) -> str:
        """The schema's name."""
        return self.fingerprint.schema

    @property
    def schema_hash(self) -> str:
        """The hash of the schema's fields."""
        return self.fingerprint.schema_hash

    @property
    def prompt_hash(self) -> str:
        """The hash of the instructions and the sampling."""
        return self.fingerprint.prompt_hash


@dataclass(frozen=True, slots=True)
class AnswerOrigin:
    """How an earlier run asked for a reparsed answer; `action` is None where the plan has it."""

    model: str
    prompt_hash: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """What all documents that ended share: the plan, the attempts, the key of the content, and the time.

    `origin`: the run made no call for this document, it has reparsed a stored reply. `qualities` are those of its pages,
    as far as they were measured.
    """

    planned: Planned
    attempts: tuple[Attempt, ...]
    key: str | None
    ended_at: datetime
    origin: AnswerOrigin | None = field(default=None, kw_only=True)
    qualities: tuple[Quality | None, ...] = field(default=(), kw_only=True)

    def tokens(self, kind: Literal["prompt", "completion", "cached", "reasoning"]) -> int:
        """The tokens of this kind, over all attempts."""
        return sum(getattr(each.usage, kind) for each in self.attempts if each.usage)

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost of all attempts known to be billed; None when one of them has no price."""
        return sum_known(each.cost_usd for each in self.attempts if each.billed == "yes")


@dataclass(frozen=True, slots=True)
class Accepted(DocumentOutcome):
    """A document whose answer validated, with that answer and what was sent of its first page.

    `evidence` is None where the run asked for no confidence. `agreed` says by field whether the accepted answer of the
    rung below was the same; None where there was none. `sightings` is None where the witness did not look at the document.
    `cells` are those of the value in its row, where they were made when it was judged.
    """

    value: BaseModel
    reply: Reply
    step: LadderStep
    encoded: bool
    sha256: str
    evidence: Evidence | None = field(default=None, kw_only=True)
    agreed: Mapping[str, bool] | None = field(default=None, kw_only=True)
    sightings: Sightings | None = field(default=None, kw_only=True)
    cells: Mapping[str, object] | None = field(default=None, kw_only=True, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Copied(DocumentOutcome):
    """A document with the same content as an earlier one: no call was made.

    `row` is the row that it copies: of failures if `failed`, else of results.
    """

    row: Mapping[str, object]
    failed: bool

    @property
    def saved_usd(self) -> Decimal | None:
        """The cost of the copied row; None when it is unknown."""
        cost = self.row["cost_usd" if self.failed else "_cost_usd"]
        return cast("Decimal | None", cost)


@dataclass(frozen=True, slots=True)
class Failed(DocumentOutcome):
    """A document without an accepted answer, and the reason; `refusal` as in DocumentError."""

    problem: Problem
    refusal: Refusal | None = field(default=None, kw_only=True)

    @property
    def rejected(self) -> bool:
        """Whether the image could not be sent, rather than not be answered."""
        return self.problem.stage in UNSENT and self.problem.kind in REJECT_REASONS

    @property
    def is_about_content(self) -> bool:
        """Whether a document with the same bytes would fail alike: not for a missing file or a refused request."""
        return not self.rejected and (self.refusal is None or self.problem.final)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A document that had not ended when the run stopped: the next run takes it."""

    planned: Planned
    attempts: tuple[Attempt, ...] = ()


DocumentResult = Accepted | Copied | Failed | Unfinished
