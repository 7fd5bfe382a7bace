"""Shards: consecutive documents of a stored plan, as a run hands them to a worker; and the backend that starts workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class ShardSpec(BaseModel):
    """The documents of one shard of a run. It holds no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: str = Field(title="Plan", description="The plan's path or URL.")
    run: str = Field(title="Run", description="The run that the shard is a piece of, and whose rows it writes.")
    number: int = Field(ge=0, title="Number", description="Which of the run's shards it is, from 0.")
    first: int = Field(ge=0, title="First", description="The place of its first document in the plan, from 0.")
    count: int = Field(ge=1, title="Count", description="How many documents it has.")
    offline: bool = Field(default=False, title="Offline", description="Whether the endpoint reads with local OCR.")


class ShardExit(NamedTuple):
    """How a shard ended by its backend; `refused`: it could not begin, and another attempt could not either."""

    words: str
    refused: bool = False


class ShardBackend(Protocol):
    """Starts shards, and reports which have ended."""

    poll: float  # seconds between two looks at the shards
    hint: str  # what a person does when no worker takes them

    async def ready(self) -> None:
        """Raises ConfigurationError when no shard could be started; called before anything is planned."""

    async def start(self, shard: ShardSpec) -> str | None:
        """Has a worker run this shard; returns the attempt's name, None when the start is to be retried later.

        Raises ConfigurationError when no worker can be asked.
        """

    async def over(self, shards: Collection[str]) -> Mapping[str, ShardExit]:
        """Those of these attempts that have ended, in any way; none when that is unknown now."""

    async def give_up(self, shards: Collection[str]) -> None:
        """Gives these attempts up: their process is gone, or has not begun."""


def split_plan(plan: str, run: str, documents: int, size: int, *, offline: bool) -> list[ShardSpec]:
    """Splits all documents of a plan into shards of this size; the last one may be smaller."""
    return [
        ShardSpec(plan=plan, run=run, number=number, first=first, count=min(size, documents - first), offline=offline)
        for number, first in enumerate(range(0, documents, size))
    ]
