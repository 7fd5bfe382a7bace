"""The nouns in pipeline order, and the protocols by which stages reach what is not theirs. A leaf.

    Found -> Grouped -> Billed -> Planned -> Prepared -> (Order -> Attempt, Reply, Verdict)
          -> Accepted | Copied | Failed | Left

All are frozen values. Sizes are pixels, upright (after EXIF); money is dollars as Decimal; times are UTC.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, cast

from extractors.money import Costs, Price, Usage, total
from extractors.tiles import Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from pydantic import BaseModel, SecretStr

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
UNSEEN = Size(0, 0)  # of a video: no rule bills it
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
    """An image that exists: where, its size in bytes, and a version that changes when its bytes may have.

    `page` counts from 1 in a file of several pages. `address` is where it is fetched from, when that is more than `uri`
    may tell (a signature): it is kept in memory only.
    """

    uri: str
    size: int | None = None
    version: str | None = None
    modified: datetime | None = None
    flaw: Flaw | None = None
    page: int | None = None
    address: SecretStr | None = None
    video: bool = False

    @property
    def name(self) -> str:
        """The image's name in every table; a page of a file as RFC 8118 writes it."""
        return self.uri if self.page is None else f"{self.uri}#page={self.page}"

    def blamed(self, message: str) -> str:
        """What is wrong with a document, as the fault of this page of it."""
        return message if self.uri in message else f"{self.name}: {message}"


@dataclass(frozen=True, slots=True)
class Grouped:
    """The images that make one document, in order; `manifest` is what else is said of it there, as JSON."""

    document: str
    pages: tuple[Found, ...]
    manifest: str | None = None

    @property
    def name(self) -> Name:
        """What tells it from other documents, and from itself before it changed."""
        return self.document, version_of(self.pages)

    @property
    def modified(self) -> datetime | None:
        """When the last of its pages was."""
        return modified_of(self.pages)


def version_of(pages: Sequence[Found]) -> str | None:
    """Changes when any page may have, or their order: of one file that file's version, else a digest of all."""
    first = pages[0]
    if all(page.uri == first.uri for page in pages):
        return first.version
    files = (page for page in pages if page.page in {None, 1})  # however many pages they turn out to have
    said = "\0".join(f"{file.uri}\0{file.version or ''}" for file in files)
    return hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def modified_of(pages: Sequence[Found]) -> datetime | None:
    """The latest time of these images, None when one's is not known."""
    times = [page.modified for page in pages if page.modified is not None]
    return max(times) if len(times) == len(pages) else None


class Store(Protocol):
    """Reads what scan found; what it cannot read raises a DocumentError: missing, forbidden, changed, and the like.

    `readers` is how many reads at once are worth a thread each; all methods may be called from any.
    """

    @property
    def readers(self) -> int:
        """1 where a read is no wait."""

    def look(self, found: Found) -> Found:
        """The same with size, version and time where scan did not know them; what keeps them hidden is its flaw."""

    def open(self, found: Found) -> BinaryIO:
        """A seekable stream, for readers that need a header only."""

    def read(self, found: Found) -> bytes:
        """All bytes, of the version that was found."""

    def link(self, found: Found) -> str:
        """The URL at which a server can fetch it by itself, signed where it must be: it belongs into a request only."""


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
        """The sent picture's longest side as a share of the image's; None for a video."""
        if not self.ladder or self.billed.header is None:
            return None
        return self.ladder[0].size.longest / self.billed.header.size.longest


@dataclass(frozen=True, slots=True)
class Planned:
    """A document as it will be sent: its pages in order; the unit of every count."""

    document: str
    pages: tuple[PlannedPage, ...]
    tries: int = 0
    manifest: str | None = None

    @property
    def first(self) -> PlannedPage:
        """The page that speaks for the document in its row."""
        return self.pages[0]

    @property
    def name(self) -> Name:
        """What tells it from other documents, and from itself before it changed."""
        return self.document, version_of(self._found)

    @property
    def modified(self) -> datetime | None:
        """When the last of its pages was."""
        return modified_of(self._found)

    @property
    def _found(self) -> list[Found]:
        return [page.billed.found for page in self.pages]

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

    `sha256` is of the original bytes: '' where none were read, as of an image that is passed on by its `link`.
    """

    block: bytes = field(repr=False)
    size: Size
    encoded: bool
    sha256: str
    link: SecretStr | None = None


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
    `sha256` and `encoded` are those of the first page, as in Prepared. `worst_prompt_tokens` is None where nobody knows:
    a video's. `links` are the URLs that were passed on: a server may repeat them.
    """

    document: str
    key: str
    request: str
    payload_bytes: int
    steps: tuple[Step, ...]
    text_tokens: int
    worst_prompt_tokens: int | None
    output_tokens: int
    max_tokens: int
    sha256: str = ""
    encoded: bool = False
    links: tuple[SecretStr, ...] = ()

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
        """`usage` minus estimate, in prompt tokens; None without one of them."""
        if self.usage is None or self.order.worst_prompt_tokens is None:
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
class Asked:
    """How an answer was asked for that an earlier run has paid; `action` is None where the plan says it."""

    model: str
    prompt_hash: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What both ends of a document share: the plan it followed, the attempts it took, the key of its content.

    `asked`: the run did not ask itself, it has read a stored answer.
    """

    planned: Planned
    attempts: tuple[Attempt, ...]
    key: str | None
    ended_at: datetime
    asked: Asked | None = field(default=None, kw_only=True)

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
class Copied(Done):
    """A document whose content was read before, under another name or at another time: nothing was sent.

    `row` is the row that it copies: of failures if `failed`, else of results.
    """

    row: Mapping[str, object]
    failed: bool

    @property
    def saved_usd(self) -> Decimal | None:
        """What that row had cost; None when nobody knows."""
        cost = self.row["cost_usd" if self.failed else "_cost_usd"]
        return cast("Decimal | None", cost)


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
