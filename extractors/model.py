"""The nouns in pipeline order, and the protocols by which stages reach what is not theirs. A leaf.

    Found -> Billed -> Planned -> Prepared -> (Order -> Attempt, Reply, Verdict) -> Accepted | Failed | Left

All are frozen values. Sizes are pixels, upright (after EXIF); money is dollars as Decimal; times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from extractors.money import Costs, Price, Usage, total

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from pydantic import BaseModel

    from extractors.tiles import Size

Name = tuple[str, str | None]  # a document and its version
Stage = Literal["scan", "bill", "prepare", "call", "validate"]
Action = Literal["send", "shrink", "resize", "url", "reject"]
Billing = Literal["yes", "no", "unknown"]
Outcome = Literal[
    "accepted",
    "off_schema",
    "not_json",
    "truncated",
    "refused",
    "empty",
    "rate_limited",
    "capacity",
    "server_error",
    "timeout",
    "connection",
    "client_error",
    "context_exceeded",
    "aborted",
]
REJECT_REASONS = frozenset(
    {
        "empty",
        "unreadable",
        "not_an_image",
        "too_many_pixels",
        "too_many_bytes",
        "too_many_pages",
        "missing",
        "forbidden",
        "blocked_address",
        "changed",
        "video_not_allowed",
        "password",
    }
)
UNSENT = frozenset({"scan", "bill", "prepare"})  # the stages that reject: an answer, too, can be `empty`


# --- scan


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why one image cannot be sent: a reject reason, the stage that saw it, a sentence; `final` as in DocumentError."""

    kind: str
    stage: Stage
    message: str
    final: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """An image that exists: where, its size in bytes, and a version that changes when its bytes may have."""

    uri: str
    size: int | None = None
    version: str | None = None
    modified: datetime | None = None
    flaw: Flaw | None = None


class Store(Protocol):
    """Reads what scan found. Both methods raise DocumentError: missing, forbidden, changed, too_many_bytes.

    `readers` is how many reads at once are worth a thread each; both methods may be called from any.
    """

    @property
    def readers(self) -> int:
        """1 where a read is no wait."""

    def open(self, found: Found) -> BinaryIO:
        """A seekable stream, for readers that need a header only."""

    def read(self, found: Found) -> bytes:
        """All bytes, of the version that was found."""


# --- bill


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's header says; `size` is upright, so sides are swapped for orientations 5 to 8."""

    size: Size
    format: str
    frames: int
    orientation: int


@dataclass(frozen=True, slots=True)
class Billed:
    """An image with its header and both documented readings of its bill as it is, or the flaw that hides them."""

    found: Found
    header: Header | None = None
    tokens_formula: int | None = None
    tokens_table: int | None = None
    flaw: Flaw | None = None
    note: str | None = None


# --- plan


@dataclass(frozen=True, slots=True)
class Step:
    """One rung for one page: its budget of image tokens, the picture that is sent at it, and what that is billed."""

    rung: int
    size: Size
    tokens: int


@dataclass(frozen=True, slots=True)
class PlannedPage:
    """One page, the choice made for it, and the ladder from that choice upwards (`ladder[0]` is sent first)."""

    billed: Billed
    action: Action
    reason: str
    ladder: tuple[Step, ...] = ()
    costs: Costs = field(default_factory=Costs)

    @property
    def scale(self) -> float | None:
        """The sent picture's longest side as a share of the image's."""
        if not self.ladder or self.billed.header is None:
            return None
        return self.ladder[0].size.longest / self.billed.header.size.longest


@dataclass(frozen=True, slots=True)
class Planned:
    """A document as it will be sent: its pages in order; the unit of every count."""

    document: str
    pages: tuple[PlannedPage, ...]
    tries: int = 0

    @property
    def first(self) -> PlannedPage:
        """The page that speaks for the document in its row."""
        return self.pages[0]

    @property
    def name(self) -> Name:
        """What tells it from other documents, and from itself before it changed."""
        return self.document, self.first.billed.found.version

    @property
    def flaw(self) -> Flaw | None:
        """The first page's flaw that rejects the whole document."""
        return next((page.billed.flaw for page in self.pages if page.billed.flaw), None)

    @property
    def rungs(self) -> int:
        """How many rungs the document can stand on."""
        return max(len(page.ladder) for page in self.pages)

    def steps(self, rung: int) -> tuple[Step, ...]:
        """The pages' pictures when the document stands on this rung of its ladder, 0 the cheapest."""
        return tuple(page.ladder[min(rung, len(page.ladder) - 1)] for page in self.pages)

    @property
    def costs(self) -> Costs:
        """The document's estimate: the sum of its pages'."""
        return sum((page.costs for page in self.pages), Costs())


# --- prepare


@dataclass(frozen=True, slots=True)
class Prepared:
    """The image block of a request as bytes, made once; `encoded` says that they are not the original's bytes.

    `sha256` is of the original bytes.
    """

    block: bytes = field(repr=False)
    size: Size
    encoded: bool
    sha256: str


# --- call


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply, read as far as it can be: `content` holds the answer wherever the server put it."""

    status: int
    body: str
    content: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    usage: Usage | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is worth: its outcome, the document if accepted, else the errors in words for a next try."""

    outcome: Outcome
    document: BaseModel | None = None
    errors: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One request about one document, and what is expected of it; its bytes travel beside it and are not kept.

    `key` names the document's content and how it is asked about, `request` also the pictures and words of this request;
    `sha256` and `encoded` are those of the first page, as in Prepared.
    """

    document: str
    key: str
    request: str
    payload_bytes: int
    steps: tuple[Step, ...]
    text_tokens: int
    worst_prompt_tokens: int
    output_tokens: int
    max_tokens: int
    sha256: str = ""
    encoded: bool = False

    @property
    def tokens(self) -> int:
        """What the call is expected to take in all."""
        return self.image_tokens + self.text_tokens + self.output_tokens

    @property
    def image_tokens(self) -> int:
        """The bill's estimate for all pages."""
        return sum(step.tokens for step in self.steps)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP attempt, as it ended."""

    order: Order
    started_at: datetime
    seconds: float
    outcome: Outcome
    billed: Billing
    reply: Reply | None = None
    cost_usd: Decimal | None = None
    reserved_usd: Decimal | None = None
    error: str | None = None

    @property
    def usage(self) -> Usage | None:
        """The server's count, if it gave one."""
        return self.reply.usage if self.reply else None

    @property
    def residual(self) -> int | None:
        """`usage` minus estimate, in prompt tokens."""
        if self.usage is None:
            return None
        return self.usage.prompt - self.order.image_tokens - self.order.text_tokens


class Journal(Protocol):
    """Notes every attempt: before its call, and as it ends."""

    async def intend(self, order: Order) -> int | None:
        """Returns when the attempt is noted, durably, with the handle by which it is settled: now it may be sent.

        None: there is no room for it in the budget, but calls on their way may free some. Raises BudgetSpent.
        """

    async def settle(self, handle: int, attempt: Attempt) -> None:
        """Returns when its end is noted, durably: now it counts."""


# --- record


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for every row of a run; the hashes tell whether a document was read as it would be today.

    `job` is what was asked, as JSON; `flow_run` the orchestrator's id for it.
    """

    run: str
    started_at: datetime
    source: str
    output: str
    endpoint: str
    model: str
    schema: str
    schema_hash: str
    prompt_hash: str
    policy: str
    bill_rule: str
    price: Price | None = None
    flow: str = "run"
    job: str = "{}"
    flow_run: str | None = None

    @property
    def run_date(self) -> str:
        """The UTC day on which the run started: the partition of all its rows."""
        return self.started_at.date().isoformat()


# --- validate, chunk


@dataclass(frozen=True, slots=True)
class Done:
    """What both ends of a document share: the plan it followed, the attempts it took, the key of its content."""

    planned: Planned
    attempts: tuple[Attempt, ...]
    key: str | None
    ended_at: datetime

    def tokens(self, kind: Literal["prompt", "completion", "cached", "reasoning"]) -> int:
        """The tokens of this kind, over all attempts."""
        return sum(getattr(each.usage, kind) for each in self.attempts if each.usage)

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost of all attempts known to be billed; None when one of them has no price."""
        return total(each.cost_usd for each in self.attempts if each.billed == "yes")


@dataclass(frozen=True, slots=True)
class Accepted(Done):
    """A document whose answer validated, that answer, and what was sent of its first page."""

    value: BaseModel
    reply: Reply
    step: Step
    encoded: bool
    sha256: str


@dataclass(frozen=True, slots=True)
class Left(Done):
    """A document that the run stopped before or in the middle of: the next run takes it."""


@dataclass(frozen=True, slots=True)
class Failed(Done):
    """A document without an answer, and why."""

    flaw: Flaw

    @property
    def rejected(self) -> bool:
        """Whether the image could not be sent, rather than the answer not be had."""
        return self.flaw.stage in UNSENT and self.flaw.kind in REJECT_REASONS
