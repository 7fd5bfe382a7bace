"""Injected faults: a share for each kind of fault, from a TOML file, and one draw per request.

    seed = 7
    [shares]             # each from 0 to 1, together at most 1; 0 where left out
    server_error = 0.05
    truncated = 0.03
    [options]
    retry_after = 0.05

The same seed gives the same faults, in the order in which requests arrive.
"""

from __future__ import annotations

import itertools
import random
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from extractors.endpoint.extra import EndpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

ANSWERED = "answered"
_ROUNDING = 1e-9

_Share = Annotated[float, Field(ge=0, le=1)]
_Seconds = Annotated[float, Field(gt=0, le=1e6)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Shares(_Table):
    """The share of all requests for each kind of fault; the rest is answered."""

    rate_limited: _Share = 0.0  # 429 with Retry-After
    server_error: _Share = 0.0  # 500, in JSON, HTML or plain text
    capacity: _Share = 0.0  # 503, every other one with Retry-After
    reset: _Share = 0.0  # the connection breaks, before the reply or in the middle of it
    stall: _Share = 0.0  # headers, then nothing
    drip: _Share = 0.0  # a byte now and then, without end
    truncated: _Share = 0.0  # JSON cut short; every third time with `stop`
    off_schema: _Share = 0.0  # JSON of another shape
    prose: _Share = 0.0  # a text without JSON
    fenced: _Share = 0.0  # a good answer after <think>, inside prose and a fence
    empty: _Share = 0.0  # no content
    html: _Share = 0.0  # 200 with a page
    error_body: _Share = 0.0  # 200 with an error in its body
    no_usage: _Share = 0.0  # a good answer without `usage`

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.model_dump().values())
        if total > 1 + _ROUNDING:
            raise ValueError(f"they add up to {total:g}, more than 1")
        return self


class Details(_Table):
    """How the faults behave."""

    retry_after: Annotated[float, Field(ge=0, le=1e6)] = 0.05  # seconds, in the Retry-After of 429 and 503
    stall_seconds: _Seconds = 3600.0  # then the connection breaks
    drip_seconds: _Seconds = 1.0  # between two bytes
    refuse_logprobs: bool = False  # 400 for every request that asks for log probabilities


class Faults(_Table):
    """The content of the file, or the same as JSON. The default has no faults."""

    seed: int = 0
    shares: Shares = Shares()
    options: Details = Details()


KINDS = tuple(Shares.model_fields)
_KNOWN = {"": tuple(Faults.model_fields), "shares": KINDS, "options": tuple(Details.model_fields)}


@dataclass(frozen=True, slots=True)
class Draw:
    """The draw of one request: a fault or `answered`, and a number from 0 to 1 that selects its variant."""

    kind: str
    way: float

    def pick(self, *ways: str) -> str:
        """One of the variants of a kind, all equally likely."""
        return ways[int(self.way * len(ways))]


def read_faults(path: Path) -> Faults:
    """Read a file of faults. Raises EndpointError with one line that names the file and the key."""
    try:
        return Faults.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise EndpointError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EndpointError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise EndpointError(f"{path}: {_describe_first(error)}") from None


def iter_draws(found: Faults) -> Iterator[Draw]:
    """An endless sequence of draws, the same for the same file."""
    if not any(found.shares.model_dump().values()):
        yield from itertools.repeat(Draw(ANSWERED, 0.0))
    dice = random.Random(found.seed)  # noqa: S311  a rehearsal must be repeatable
    shares = found.shares.model_dump()
    kinds, weights = (*shares, ANSWERED), (*shares.values(), max(0.0, 1 - sum(shares.values())))
    while True:
        yield Draw(dice.choices(kinds, weights)[0], dice.random())


def _describe_first(error: ValidationError) -> str:
    """The first error of the file, in words."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown; known here are {', '.join(_KNOWN[key.rpartition('.')[0]])}"
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}"
