"""A rehearsal: the settings of latency, rate limit and faults, and the server's own count of requests and tokens.

| kind | |
|---|---|
| `answered` | a good answer, as asked for |
| the kinds of `faults.Shares` | a fault; `truncated` counts also what the request's own `max_tokens` cut |
| `limited` | 429, above the rate of `--rpm` (`rate_limited` is the fault) |
| `crowded` | 503, more requests waiting for the reader than it takes |
| `refused` | 400, a request or an image that cannot be answered |
| `gone` | the client left before its request was complete |
| `failed` | 500, a bug of the endpoint |

Billed are the answers that were made whole: `answered`, `truncated`, `off_schema`, `prose`, `fenced`, `empty`, `no_usage`.
Answers are counted when they are ready, everything else when it is decided: what `requests` has more than all kinds
together is still in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extractors.endpoint.faults.rate_limit import TokenBucket
from extractors.endpoint.faults.spec import Draw, Faults, iter_draws
from extractors.endpoint.refusal import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITED = "limited"


@dataclass(slots=True)
class Tally:
    """Counts by kind, and the tokens of every complete answer."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, kind: str) -> None:
        """Count a request without a bill."""
        self.kinds[kind] += 1

    def bill(self, kind: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Count an answer and its bill."""
        self.kinds[kind] += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def reset(self) -> None:
        """Reset all counts; requests in flight stay counted, since their kind is not counted yet."""
        self.requests -= self.kinds.total()
        self.kinds.clear()
        self.prompt_tokens = self.completion_tokens = 0


class _Change(BaseModel):
    """The body of `PUT /rehearsal`: omitted settings stay as they are.

    `rpm: null` lifts the limit, `faults: null` (or `{}`) ends all faults, and faults given anew draw from their seed
    again. `reset: true` starts the count again from those requests that are still in flight.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    rpm: Annotated[float | None, Field(gt=0)] = None
    latency: Annotated[float, Field(ge=0)] = 0.0
    faults: Faults | None = None
    reset: bool = False


class Rehearsal:
    """The state shared by the requests of one app."""

    def __init__(
        self,
        *,
        rpm: float | None = None,
        latency: float = 0.0,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latency = latency
        self.limit = TokenBucket(rpm, clock)
        self.tally = Tally()
        self.closing = asyncio.Event()  # set, it ends what would otherwise never end
        self._set_faults(faults or Faults())

    def arrive(self) -> Draw:
        """Count a request and draw its answer or fault; above the limit it is refused without a draw."""
        self.tally.requests += 1
        return next(self._draws) if self.limit.take() else Draw(LIMITED, 0.0)

    def change(self, body: bytes) -> None:
        """Change the limit, the latency or the faults for later requests, or reset the counts."""
        try:
            change = _Change.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            param = ".".join(str(step) for step in first["loc"])
            says = first["msg"].removeprefix("Value error, ")
            raise RequestError(f"{param or 'the body'}: {says}", param=param or None, code=first["type"]) from None
        if "rpm" in change.model_fields_set:
            self.limit.rpm = change.rpm
        if "latency" in change.model_fields_set:
            self.latency = change.latency
        if "faults" in change.model_fields_set:
            self._set_faults(change.faults or Faults())
        if change.reset:
            self.tally.reset()

    def state(self) -> dict[str, Any]:
        """The settings in force and the count so far."""
        return {
            "rpm": self.limit.rpm,
            "latency": self.latency,
            "faults": self._faults.model_dump(exclude_defaults=True),
            "requests": self.tally.requests,
            "kinds": dict(sorted(self.tally.kinds.items())),
            "prompt_tokens": self.tally.prompt_tokens,
            "completion_tokens": self.tally.completion_tokens,
        }

    def _set_faults(self, faults: Faults) -> None:
        self._faults = faults
        self.options = faults.options
        self._draws = iter_draws(faults)
