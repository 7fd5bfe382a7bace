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
from extractors.core.errors import ConfigurationError, format_value
from flows.adapters.rate_limit import PrefectRateLimit, create_command, limit_name
from flows.adapters.rate_share import LimitNotFoundError, LimitUnavailableError
from flows.adapters.secrets import BLOCK_LABEL, read_block_key

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from extractors.config.settings import Settings

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """The findings; the key that flow runs find on the server, and in words whether there is one, where that matters."""

    findings: list[Finding]
    key: str | None = field(default=None, repr=False)
    key_note: str = ""


async def check_server(settings: Settings) -> ServerCheck:
    """Asks the configured server; one that does not answer, or lets nobody in, is a finding, too."""
    url = get_current_settings().api.url or ""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
            await client.read_flows(limit=1)  # `/health` answers whoever asks
            rate = await _check_rate(client, settings)
    except httpx.HTTPStatusError as error:
        return ServerCheck([Finding("prefect", "fails", _explain_refusal(url, error.response.status_code))])
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        words = f"PREFECT_API_URL={format_value(url)} cannot be reached: {type(error).__name__}"
        return ServerCheck([Finding("prefect", "fails", words)])
    except ValueError:  # what is no JSON, or no address
        return ServerCheck(
            [Finding("prefect", "fails", f"PREFECT_API_URL={format_value(url)} is no Prefect API: check it")]
        )
    findings = [Finding("prefect", "ok", f"{format_value(url)} answers"), *rate]
    return ServerCheck(findings) if settings.api_key else await _check_key_block(findings)


async def _check_key_block(findings: list[Finding]) -> ServerCheck:
    try:
        key = await read_block_key()
    except ConfigurationError as error:
        return ServerCheck([*findings, Finding("key block", "fails", f"{BLOCK_LABEL}: {error.message}")])
    return ServerCheck(
        findings, key, f"it is of {BLOCK_LABEL}, which flow runs alone read" if key else f"nor is there {BLOCK_LABEL}"
    )


def _explain_refusal(url: str, status: int) -> str:
    if status not in {401, 403}:
        return f"PREFECT_API_URL={format_value(url)} answers {status}: check it"
    api = get_current_settings().api
    sent = {"PREFECT_API_AUTH_STRING": api.auth_string, "PREFECT_API_KEY": api.key}
    name = next((name for name, secret in sent.items() if secret), None)  # in Prefect's order
    if name:
        return f"{format_value(url)} refuses {name} ({status}): set it to what that server asks for"
    return f"{format_value(url)} asks for a login ({status}): set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY at Prefect Cloud"


async def _check_rate(client: PrefectClient, settings: Settings) -> list[Finding]:
    """Whether runs share the rate of TILEWISE_RPM; nothing where there is none to share."""
    if settings.rpm is None or not settings.model or settings.base_url == OFFLINE:
        return []
    name, rate = limit_name(settings.base_url or TOGETHER, settings.model), settings.rpm / 60
    try:
        limit = await PrefectRateLimit(client, name).read()
    except LimitNotFoundError:
        words = (
            f"each run goes by TILEWISE_RPM alone, because there is no rate limit {name}: {create_command(name, rate)}"
        )
        return [Finding("rate", "note", words)]
    except LimitUnavailableError as error:
        return [Finding("rate", "note", str(error))]
    if not limit.active:
        return [Finding("rate", "note", f"the rate limit {name} is switched off: runs go as fast as each may")]
    return [Finding("rate", "ok", f"runs share {limit.rate * 60:g} calls a minute, by the rate limit {name}")]
