"""What a rehearsal can set and ask: latency, a limit and faults in, the server's own count out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extractors.endpoint.faults.rate_limit import Limit
from extractors.endpoint.faults.spec import Draw, Faults, draws
from extractors.endpoint.faults.tally import Tally
from extractors.endpoint.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITED = "limited"


class _Change(BaseModel):
    """The body of `PUT /rehearsal`: what it leaves out stays as it is.

    `rpm: null` lifts the limit, `faults: null` (or `{}`) ends all faults, and faults given anew draw from their seed
    again. `reset: true` starts the count again from those requests that are still in flight.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    rpm: Annotated[float | None, Field(gt=0)] = None
    latency: Annotated[float, Field(ge=0)] = 0.0
    faults: Faults | None = None
    reset: bool = False


class Rehearsal:
    """The state that one app's requests share."""

    def __init__(
        self,
        *,
        rpm: float | None = None,
        latency: float = 0.0,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latency = latency
        self.limit = Limit(rpm, clock)
        self.tally = Tally()
        self.closing = asyncio.Event()  # set, it ends what would otherwise never end
        self._rehearse(faults or Faults())

    def arrive(self) -> Draw:
        """Count a request in and say what it gets. One above the limit is refused and draws nothing."""
        self.tally.requests += 1
        return next(self._draws) if self.limit.take() else Draw(LIMITED, 0.0)

    def change(self, body: bytes) -> None:
        """Change the limit, the latency or the faults, for the requests from now on, or start the count again."""
        try:
            change = _Change.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            param = ".".join(str(step) for step in first["loc"])
            says = first["msg"].removeprefix("Value error, ")
            raise Refusal(f"{param or 'the body'}: {says}", param=param or None, code=first["type"]) from None
        if "rpm" in change.model_fields_set:
            self.limit.rpm = change.rpm
        if "latency" in change.model_fields_set:
            self.latency = change.latency
        if "faults" in change.model_fields_set:
            self._rehearse(change.faults or Faults())
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

    def _rehearse(self, faults: Faults) -> None:
        self._faults = faults
        self.options = faults.options
        self._draws = draws(faults)
