"""Doctor checks of the configured Prefect server: access, key block, rate limit. Imports Prefect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
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
    """The findings, the key of the server's key block, and a note about that block for the finding on the key."""

    findings: list[Finding]
    key: str | None = field(default=None, repr=False)
    key_note: str = ""


async def find_problem() -> str | None:
    """Why the configured server cannot be used; None if it answers as a Prefect API."""
    url = get_current_settings().api.url or ""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), get_client() as client:
            await client.read_flows(limit=1)  # `/health` needs no login
    except httpx.HTTPStatusError as error:
        return _explain_refusal(url, error.response.status_code)
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, TimeoutError, OSError, RuntimeError) as error:
        problem = f"PREFECT_API_URL={format_value(url)} does not answer ({type(error).__name__})"
        return f"{problem}: start the server or correct the setting"
    except ValueError:  # not JSON, or not a URL
        return f"PREFECT_API_URL={format_value(url)} is not a Prefect API: correct the setting"
    return None


async def verify_server(hint: str = "") -> None:
    """Raises ConfigurationError, which ends with the hint, if the configured server cannot be used."""
    if problem := await find_problem():
        raise ConfigurationError(problem + hint)


async def check_server(settings: Settings) -> ServerCheck:
    """Checks the configured server; a server that does not answer or refuses access is a finding."""
    if problem := await find_problem():
        return ServerCheck([Finding("prefect", "fails", problem)])
    async with get_client() as client:
        rate = await _check_rate(client, settings)
    url = get_current_settings().api.url or ""
    findings = [Finding("prefect", "ok", f"{format_value(url)} answers"), *rate]
    return ServerCheck(findings) if settings.api_key else await _check_key_block(findings)


async def _check_key_block(findings: list[Finding]) -> ServerCheck:
    try:
        key = await read_block_key()
    except ConfigurationError as error:
        return ServerCheck([*findings, Finding("key block", "fails", f"{BLOCK_LABEL}: {error.message}")])
    return ServerCheck(
        findings,
        key,
        f"from {BLOCK_LABEL}, which only flow runs read" if key else f"{BLOCK_LABEL} does not exist either",
    )


def _explain_refusal(url: str, status: int) -> str:
    if status not in {401, 403}:
        return f"PREFECT_API_URL={format_value(url)} answers HTTP {status}: correct the setting"
    api = get_current_settings().api
    sent = {"PREFECT_API_AUTH_STRING": api.auth_string, "PREFECT_API_KEY": api.key}
    name = next((name for name, secret in sent.items() if secret), None)  # in Prefect's order
    if name:
        return f"{format_value(url)} refuses {name} (HTTP {status}): set it to the login of that server"
    return f"{format_value(url)} requires a login (HTTP {status}): set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud"


async def _check_rate(client: PrefectClient, settings: Settings) -> list[Finding]:
    """Whether runs share the rate of TILEWISE_RPM; no finding if no rate is set."""
    if settings.rpm is None or not settings.model or settings.base_url == OFFLINE:
        return []
    name, rate = limit_name(settings.base_url or TOGETHER, settings.model), settings.rpm / 60
    try:
        limit = await PrefectRateLimit(client, name).read()
    except LimitNotFoundError:
        words = f"each run applies TILEWISE_RPM separately, because the rate limit {name} does not exist: {create_command(name, rate)}"
        return [Finding("rate", "note", words)]
    except LimitUnavailableError as error:
        return [Finding("rate", "note", str(error))]
    if not limit.active:
        return [Finding("rate", "note", f"the rate limit {name} is inactive: runs are not limited by it")]
    return [Finding("rate", "ok", f"runs share {limit.rate * 60:g} calls per minute through the rate limit {name}")]
