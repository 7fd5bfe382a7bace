"""Permits: one rate for many workers, counted by a rate limit on the Prefect server.

The limit is named after endpoint and model. Where there is none, every worker goes by its own settings. For 2,400 calls a
minute: `prefect gcl create tilewise-api.together.ai-maker-model --limit 40 --slot-decay-per-second 40`.
"""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from extractors.config.run_config import OFFLINE
from extractors.config.settings import TOGETHER
from extractors.core.errors import ConfigurationError
from flows.adapters.rate_share import (
    MIN_BLOCK,
    TIMEOUT_SECONDS,
    LeasedRate,
    Limit,
    LimitNotFoundError,
    LimitUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from prefect.client.orchestration import PrefectClient

    from extractors.config.settings import Settings
    from extractors.core import Permits

SENDING_FLOWS = ["extract", "backfill", "apply", "shard"]  # the flows that send calls
BURST_SECONDS = 1.0  # seconds of the rate that lie ready at most: servers enforce their limits per second


def limit_name(endpoint: str, model: str) -> str:
    """The limit's name: `tilewise-<host>-<model>`; whatever is neither letter, digit, dot nor underscore is a hyphen."""
    host = urlsplit(endpoint).netloc.rpartition("@")[2] or endpoint
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"tilewise-{host}-{model}")


def limit_size(rate: float) -> int:
    """How many permits lie ready at most."""
    return max(math.ceil(rate * BURST_SECONDS), 2 * MIN_BLOCK)


def create_command(name: str, rate: float) -> str:
    """In words, the command that makes the limit."""
    return f"make it with `prefect gcl create {name} --limit {limit_size(rate)} --slot-decay-per-second {rate:g}`"


async def ensure_limit(settings: Settings) -> str | None:
    """Makes the limit from TILEWISE_RPM, or sets it to that; gives its name, None where there is nothing to share.

    Raises ConfigurationError when the Prefect server does not answer.
    """
    model = settings.model
    if settings.rpm is None or not model or settings.base_url == OFFLINE:
        return None
    name, rate = limit_name(settings.base_url or TOGETHER, model), settings.rpm / 60
    try:
        with _translate_errors(name):
            async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
                await client.upsert_global_concurrency_limit_by_name(name, limit_size(rate), rate)
    except (TimeoutError, LimitUnavailableError) as error:
        raise ConfigurationError(f"the rate limit {name} cannot be made from TILEWISE_RPM: {error}") from None
    return name


@asynccontextmanager
async def lease_rate(
    endpoint: str, model: str, rpm: float | None, say: Callable[[str], None]
) -> AsyncIterator[Permits | None]:
    """Permits of the limit of this endpoint and model while it is entered; None where there is no limit to share.

    A server that does not answer leaves half of TILEWISE_RPM until it does; without that, nothing is known to share.
    """
    async with get_client() as client:
        counter = PrefectRateLimit(client, limit_name(endpoint, model))
        found = await _read_rate(counter, rpm)
        if not isinstance(found, float):
            yield found
            return
        async with LeasedRate(counter, found, say).lease_in_background() as permits:
            yield permits


async def _read_rate(counter: PrefectRateLimit, rpm: float | None) -> float | UnsharedRate | None:
    """The rate to lease from, as far as it is known; without one, what a person should know of that."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return (await counter.read()).rate
    except LimitNotFoundError:
        return await _warn_if_unshared(counter, rpm)
    except (TimeoutError, LimitUnavailableError) as error:
        why = str(error) or f"no answer in {TIMEOUT_SECONDS:.0f} s"
    return (
        rpm / 60
        if rpm
        else UnsharedRate(f"whether workers share a rate is not known ({why}): this run went by its own")
    )


class UnsharedRate:
    """No limit where one is missed: nothing is held back, and a person is told."""

    def __init__(self, words: str) -> None:
        """`words` are the warning."""
        self._words = words

    def wait(self) -> float:
        """No time at all."""
        return 0.0

    def take(self) -> None:
        """Nothing is counted."""

    def warning(self) -> str | None:
        """What is missed, and the command that makes it."""
        return self._words


class PrefectRateLimit:
    """A rate limit on a Prefect server. Every method raises UnansweredError, MissingError where there is no such limit."""

    def __init__(self, client: PrefectClient, name: str) -> None:
        """`client` belongs to this event loop."""
        self.name, self._client = name, client

    async def read(self) -> Limit:
        """The limit as it stands."""
        with _translate_errors(self.name):
            found = await self._client.read_global_concurrency_limit_by_name(self.name)
        if found.slot_decay_per_second <= 0 or found.limit < 1:
            raise LimitUnavailableError(
                f"the rate limit {self.name} gives nothing: its limit and slot decay must be above 0"
            )
        return Limit(found.slot_decay_per_second, found.limit, found.active_slots, found.active)

    async def take(self, permits: int) -> bool:
        """Takes so many; False where fewer lie ready.

        Prefect's `rate_limit` would wait by itself, in a thread of its own, and write an event for every acquire.
        """
        try:
            with _translate_errors(self.name):
                answer = await self._client.increment_concurrency_slots([self.name], permits, "rate_limit")
        except _TooFewPermitsError:
            return False
        if not answer.json():  # as `rate_limit(strict=True)`: a limit that is gone lets everything through
            raise LimitNotFoundError(f"there is no rate limit {self.name}")
        return True

    async def give_back(self, permits: int) -> None:
        """Makes so many ready again."""
        with _translate_errors(self.name):
            await self._client.release_concurrency_slots([self.name], permits, occupancy_seconds=1.0)

    async def count_senders(self) -> int:
        """How many runs are sending now, this one included."""
        running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
        with _translate_errors(self.name):
            found = await self._client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=SENDING_FLOWS)),
                flow_run_filter=FlowRunFilter(state=running),
            )
        return len(found)


class _TooFewPermitsError(LimitUnavailableError):
    """Fewer permits lie ready than were asked for."""


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """What goes wrong on the way to the server, in its own words."""
    try:
        yield
    except ObjectNotFound:
        raise LimitNotFoundError(f"there is no rate limit {name}") from None
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 423:
            raise _TooFewPermitsError("fewer lie ready") from None
        raise LimitUnavailableError(f"Prefect's server says {error.response.status_code}") from None
    except httpx.HTTPError as error:
        raise LimitUnavailableError(f"Prefect's server does not answer: {type(error).__name__}") from None
    except ValueError:  # what is no JSON, or no limit: something else answers at that address
        raise LimitUnavailableError("what answers for Prefect's server is none") from None


async def _warn_if_unshared(counter: PrefectRateLimit, rpm: float | None) -> UnsharedRate | None:
    """A warning where others send at the same time and each goes by a TILEWISE_RPM of its own, else nothing."""
    if rpm is None:
        return None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            count_senders = await counter.count_senders()
    except (TimeoutError, LimitUnavailableError):
        return None
    if count_senders < 2:
        return None
    return UnsharedRate(
        f"TILEWISE_RPM={rpm:g} held for each of {count_senders} runs alone, because there is no rate limit {counter.name}:"
        f" {create_command(counter.name, rpm / 60)}"
    )
