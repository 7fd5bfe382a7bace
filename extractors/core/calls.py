"""A request, its attempts and its reply, and the journal that records them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from pydantic import BaseModel, SecretStr

    from extractors.core.documents import LadderStep
    from extractors.core.money import Usage

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
# What is noted of a call that was on its way when its process ended.
LOST = {"outcome": "aborted", "billed": "unknown", "seconds": 0.0, "error": "its process ended meanwhile"}


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The tokens of a reply as the server gave them, in order, and the natural logarithm of each one's probability.

    Both have the same length. They cover the whole generated text: think marks, special tokens and the wrapper of a tool
    call included. A token whose bytes are no UTF-8 by themselves is written byte by byte: `<0xE2><0x82>`. A logarithm is
    None where the server gave none that can be one (null, NaN, a positive number).
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply, read as far as it can be: `content` holds the answer wherever the server put it.

    `reasoning` is what stood beside the answer, `refusal` the words with which the model or a filter declined, `ended`
    is False where a stream broke off. `logprobs` is None where the server gave none, or none that fit the tokens.
    """

    status: int
    body: str
    content: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    usage: Usage | None = None
    request_id: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    ended: bool = True
    logprobs: TokenLogprobs | None = None


class Refusal(NamedTuple):
    """A refusal of the request and not of one image: the same status and error code mean the same cause."""

    status: int
    code: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on an answer: its outcome, the document if accepted, else the errors in words for the next request.

    `runaway` marks an answer that was cut off while it repeated itself or filled up with blanks: more tokens do not help.
    `sum_differs` marks one whose rows do not add up to their total: the next request names the difference.
    `candidate` is the JSON text of the document, as the answer has it, `cells` the document as the cells of its row.
    """

    outcome: Outcome
    document: BaseModel | None = None
    errors: str = ""
    runaway: bool = False
    sum_differs: bool = False
    candidate: str = field(default="", repr=False, compare=False)
    cells: Mapping[str, object] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One request about one document, with its expected tokens; its bytes are passed beside it and are not kept.

    `key` names the document's content and how it is asked about, `request` also the pictures and words of this request;
    `sha256` and `encoded` are those of the first page, as in Prepared. `worst_prompt_tokens` is None where it is unknown:
    a video's. `links` are the URLs that were passed on: a server may repeat them.
    """

    document: str
    key: str
    request: str
    payload_bytes: int
    steps: tuple[LadderStep, ...]
    text_tokens: int
    worst_prompt_tokens: int | None
    output_tokens: int
    max_tokens: int
    sha256: str = ""
    encoded: bool = False
    links: tuple[SecretStr, ...] = ()

    @property
    def tokens(self) -> int:
        """The expected tokens of the call in all."""
        return self.image_tokens + self.text_tokens + self.output_tokens

    @property
    def image_tokens(self) -> int:
        """The bill's estimate for all pages."""
        return sum(step.tokens for step in self.steps)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP attempt that ended."""

    request: CallRequest
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
        if self.usage is None or self.request.worst_prompt_tokens is None:
            return None
        return self.usage.prompt - self.request.image_tokens - self.request.text_tokens


class Journal(Protocol):
    """Records every attempt: before its call, and when it ends."""

    def reserve(self, request: CallRequest) -> Awaitable[int | None]:
        """Ends once the attempt is recorded durably, with the handle by which it is settled: then it may be sent.

        None: there is no room for it in the budget, but calls on their way may free some. Raises BudgetSpent.
        """

    def settle(self, handle: int, attempt: Attempt) -> Awaitable[None]:
        """Ends once its end is recorded durably: then it counts."""


class Permits(Protocol):
    """Permits of a rate that several processes share: a ceiling on top of the rate that each has learned."""

    def wait(self) -> float:
        """Seconds until a call may be sent, or until the next query is useful; 0 when one may be sent now."""

    def take(self) -> None:
        """Counts a call that is sent."""

    def warning(self) -> str | None:
        """Returns the warning for the run's row, if any."""
