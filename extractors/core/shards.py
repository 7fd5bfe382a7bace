"""Slice: a piece of a stored plan, as a parent run hands it to a shard; and what the parent asks of who starts shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

EACH = 10**9  # numbers of parts that a shard has for itself, the first of them beyond those of any run without shards
TRY = 10**6  # of them, those that each try at it has


class ShardSpec(BaseModel):
    """So many documents of a plan from one on: the work of one shard of a run. It holds no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: str = Field(title="Plan", description="The plan's path or URL.")
    run: str = Field(title="Run", description="The run that the shard is a piece of, and whose rows it writes.")
    number: int = Field(ge=0, title="Number", description="Which of the run's shards it is, from 0.")
    first: int = Field(ge=0, title="First", description="The place of its first document in the plan, from 0.")
    count: int = Field(ge=1, title="Count", description="How many documents it has.")
    offline: bool = Field(default=False, title="Offline", description="Whether the endpoint reads with local OCR.")

    @property
    def parts(self) -> range:
        """The numbers of the parts that it stages."""
        return range((self.number + 1) * EACH, (self.number + 2) * EACH)

    def part(self, attempt: int) -> int:
        """The number of the first part of a try at it: no two tries write the same."""
        return self.parts[attempt * TRY]


class ShardExit(NamedTuple):
    """That a shard is over, by who started it; `refused`: it could not begin, and another try could not either."""

    words: str
    refused: bool = False


class ShardBackend(Protocol):
    """Who starts shards and can tell whether they are over."""

    poll: float  # seconds between two looks at them
    hint: str  # what a person does where nobody takes them

    async def ready(self) -> None:
        """Raises ConfigurationError when no shard could be started, before anything is planned."""

    async def start(self, shard: ShardSpec) -> str | None:
        """Has a worker work on this piece; gives what it is known by, None when that is to be tried again later.

        Raises ConfigurationError when nobody can be asked to.
        """

    async def over(self, shards: Collection[str]) -> Mapping[str, ShardExit]:
        """Those of these that are over, in whatever way; none when that cannot be told now."""

    async def give_up(self, shards: Collection[str]) -> None:
        """Nobody waits for these any more, whatever is said of them: their process is gone, or has not begun."""


def split_plan(plan: str, run: str, documents: int, size: int, *, offline: bool) -> list[ShardSpec]:
    """All documents of a plan in slices of this size; the last one may be smaller."""
    return [
        ShardSpec(plan=plan, run=run, number=number, first=first, count=min(size, documents - first), offline=offline)
        for number, first in enumerate(range(0, documents, size))
    ]
