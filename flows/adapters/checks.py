"""What a Prefect server has of what runs need: whether it lets this machine in, a key, a rate limit. Imports Prefect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from extractors.config.doctor import Finding
from extractors.config.run_config import OFFLINE
from extractors.config.settings import TOGETHER
from extractors.core.errors import ConfigurationError, shown
from flows.adapters.rate_limit import PrefectRateLimit, limit_name, making
from flows.adapters.rate_share import MissingError, UnansweredError
from flows.adapters.secrets import NAMED, block_key

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from extractors.config.settings import Settings

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Checkup:
    """The findings; the key that flow runs find on the server, and in words whether there is one, where that matters."""

    findings: list[Finding]
    key: str | None = field(default=None, repr=False)
    words: str = ""


async def checkup(settings: Settings) -> Checkup:
    """Asks the configured server; one that does not answer, or lets nobody in, is a finding, too."""
    url = get_current_settings().api.url or ""
    try:
        async with asyncio.timeout(SECONDS), get_client() as client:
            await client.read_flows(limit=1)  # `/health` answers whoever asks
            rate = await _rate(client, settings)
    except httpx.HTTPStatusError as error:
        return Checkup([Finding("prefect", "fails", _refusal(url, error.response.status_code))])
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        words = f"PREFECT_API_URL={shown(url)} cannot be reached: {type(error).__name__}"
        return Checkup([Finding("prefect", "fails", words)])
    except ValueError:  # what is no JSON, or no address
        return Checkup([Finding("prefect", "fails", f"PREFECT_API_URL={shown(url)} is no Prefect API: check it")])
    findings = [Finding("prefect", "ok", f"{shown(url)} answers"), *rate]
    return Checkup(findings) if settings.api_key else await _with_key(findings)


async def _with_key(findings: list[Finding]) -> Checkup:
    try:
        key = await block_key()
    except ConfigurationError as error:
        return Checkup([*findings, Finding("key block", "fails", f"{NAMED}: {error.message}")])
    return Checkup(findings, key, f"it is of {NAMED}, which flow runs alone read" if key else f"nor is there {NAMED}")


def _refusal(url: str, status: int) -> str:
    if status not in {401, 403}:
        return f"PREFECT_API_URL={shown(url)} answers {status}: check it"
    api = get_current_settings().api
    sent = {"PREFECT_API_AUTH_STRING": api.auth_string, "PREFECT_API_KEY": api.key}
    name = next((name for name, secret in sent.items() if secret), None)  # in Prefect's order
    if name:
        return f"{shown(url)} refuses {name} ({status}): set it to what that server asks for"
    return f"{shown(url)} asks for a login ({status}): set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY at Prefect Cloud"


async def _rate(client: PrefectClient, settings: Settings) -> list[Finding]:
    """Whether runs share the rate of TILEWISE_RPM; nothing where there is none to share."""
    if settings.rpm is None or not settings.model or settings.base_url == OFFLINE:
        return []
    name, rate = limit_name(settings.base_url or TOGETHER, settings.model), settings.rpm / 60
    try:
        limit = await PrefectRateLimit(client, name).read()
    except MissingError:
        words = f"each run goes by TILEWISE_RPM alone, because there is no rate limit {name}: {making(name, rate)}"
        return [Finding("rate", "note", words)]
    except UnansweredError as error:
        return [Finding("rate", "note", str(error))]
    if not limit.active:
        return [Finding("rate", "note", f"the rate limit {name} is switched off: runs go as fast as each may")]
    return [Finding("rate", "ok", f"runs share {limit.rate * 60:g} calls a minute, by the rate limit {name}")]
