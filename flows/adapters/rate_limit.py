"""Shared rate: one call rate for many workers, counted by a global concurrency limit of the Prefect server.

The limit is named after endpoint and model. Without it, every worker applies its own settings. For 2,400 calls per minute:
 `prefect gcl create tilewise-api.together.ai-maker-model --limit 40 --slot-decay-per-second 40`.
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
CREATE_SECONDS = 60.0  # for a server that has just started and is busy with its database
BURST_SECONDS = 1.0  # seconds of the rate that are available at once: servers enforce their limits per second


def limit_name(endpoint: str, model: str) -> str:
    """The limit's name: `tilewise-<host>-<model>`; characters other than letters, digits, dot and underscore become hyphens."""
    host = urlsplit(endpoint).netloc.rpartition("@")[2] or endpoint
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"tilewise-{host}-{model}")


def limit_size(rate: float) -> int:
    """The size of the limit: the permits available at once."""
    return max(math.ceil(rate * BURST_SECONDS), 2 * MIN_BLOCK)


def create_command(name: str, rate: float) -> str:
    """The instruction that creates the limit."""
    return f"create it with `prefect gcl create {name} --limit {limit_size(rate)} --slot-decay-per-second {rate:g}`"


async def ensure_limit(settings: Settings) -> str | None:
    """Creates the limit from TILEWISE_RPM, or updates it; returns its name, None if there is no rate to share.

    Raises ConfigurationError when the Prefect server does not answer.
    """
    model = settings.model
    if settings.rpm is None or not model or settings.base_url == OFFLINE:
        return None
    name, rate = limit_name(settings.base_url or TOGETHER, model), settings.rpm / 60
    try:
        with _translate_errors(name):
            async with asyncio.timeout(CREATE_SECONDS), get_client() as client:
                await client.upsert_global_concurrency_limit_by_name(name, limit_size(rate), rate)
    except (TimeoutError, LimitUnavailableError) as error:
        reason = str(error) or f"the Prefect server did not answer within {CREATE_SECONDS:.0f} s"
        raise ConfigurationError(f"the rate limit {name} cannot be created from TILEWISE_RPM: {reason}") from None
    return name


@asynccontextmanager
async def lease_rate(
    endpoint: str, model: str, rpm: float | None, say: Callable[[str], None]
) -> AsyncIterator[Permits | None]:
    """Permits of the limit of this endpoint and model inside the context; None if there is no limit to share.

    If the server does not answer, half of TILEWISE_RPM applies until it does; without TILEWISE_RPM, no limit applies.
    """
    async with get_client() as client:
        limit_client = PrefectRateLimit(client, limit_name(endpoint, model))
        rate = await _read_rate(limit_client, rpm)
        if not isinstance(rate, float):
            yield rate
            return
        async with LeasedRate(limit_client, rate, say).lease_in_background() as permits:
            yield permits


async def _read_rate(limit_client: PrefectRateLimit, rpm: float | None) -> float | UnsharedRate | None:
    """The rate to lease from; without a limit, the warning about it."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return (await limit_client.read()).rate
    except LimitNotFoundError:
        return await _warn_if_unshared(limit_client, rpm)
    except (TimeoutError, LimitUnavailableError) as error:
        why = str(error) or f"no answer in {TIMEOUT_SECONDS:.0f} s"
    return (
        rpm / 60
        if rpm
        else UnsharedRate(f"the shared rate limit could not be read ({why}): this run applied its own limits")
    )


class UnsharedRate:
    """Permits without a shared limit: nothing waits, and the run carries a warning."""

    def __init__(self, words: str) -> None:
        """`words` is the warning."""
        self._words = words

    def wait(self) -> float:
        """Always 0."""
        return 0.0

    def take(self) -> None:
        """Nothing is counted."""

    def warning(self) -> str | None:
        """The missing limit, and the command that creates it."""
        return self._words


class PrefectRateLimit:
    """A limit on a Prefect server. Methods raise LimitUnavailableError, or LimitNotFoundError if it does not exist."""

    def __init__(self, client: PrefectClient, name: str) -> None:
        """`client` belongs to this event loop."""
        self.name, self._client = name, client

    async def read(self) -> Limit:
        """Reads the current state of the limit."""
        with _translate_errors(self.name):
            limit = await self._client.read_global_concurrency_limit_by_name(self.name)
        if limit.slot_decay_per_second <= 0 or limit.limit < 1:
            raise LimitUnavailableError(
                f"the rate limit {self.name} grants no permits: its limit and its slot decay must be above 0"
            )
        return Limit(limit.slot_decay_per_second, limit.limit, limit.active_slots, limit.active)

    async def take(self, permits: int) -> bool:
        """Takes this number of permits; False if fewer are available.

        Prefect's `rate_limit` would wait in a separate thread, and write an event for every acquire.
        """
        try:
            with _translate_errors(self.name):
                answer = await self._client.increment_concurrency_slots([self.name], permits, "rate_limit")
        except _TooFewPermitsError:
            return False
        if not answer.json():  # as `rate_limit(strict=True)`: a deleted limit would grant everything
            raise LimitNotFoundError(f"the rate limit {self.name} does not exist")
        return True

    async def give_back(self, permits: int) -> None:
        """Returns this number of permits."""
        with _translate_errors(self.name):
            await self._client.release_concurrency_slots([self.name], permits, occupancy_seconds=1.0)

    async def count_senders(self) -> int:
        """The number of runs that send calls now, including this one."""
        running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
        with _translate_errors(self.name):
            flow_runs = await self._client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=SENDING_FLOWS)),
                flow_run_filter=FlowRunFilter(state=running),
            )
        return len(flow_runs)


class _TooFewPermitsError(LimitUnavailableError):
    """Fewer permits are available than were requested."""


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Translates errors of the Prefect client."""
    try:
        yield
    except ObjectNotFound:
        raise LimitNotFoundError(f"the rate limit {name} does not exist") from None
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 423:
            raise _TooFewPermitsError("fewer permits are available") from None
        raise LimitUnavailableError(f"the Prefect server answers HTTP {error.response.status_code}") from None
    except httpx.HTTPError as error:
        raise LimitUnavailableError(f"the Prefect server does not answer: {type(error).__name__}") from None
    except ValueError:  # not JSON, or not a limit: another server answers at that address
        raise LimitUnavailableError("the server at PREFECT_API_URL did not return a valid Prefect response") from None


async def _warn_if_unshared(limit_client: PrefectRateLimit, rpm: float | None) -> UnsharedRate | None:
    """A warning if other runs send at the same time and each applies TILEWISE_RPM separately, else None."""
    if rpm is None:
        return None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            senders = await limit_client.count_senders()
    except (TimeoutError, LimitUnavailableError):
        return None
    if senders < 2:
        return None
    return UnsharedRate(
        f"TILEWISE_RPM={rpm:g} applied to each of {senders} concurrent runs, because the rate limit {limit_client.name} does not exist:"
        f" {create_command(limit_client.name, rpm / 60)}"
    )
