"""The HTTP client: httpx's API on aiohttp's connections, one pool for a run."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import httpx
import orjson
from httpx_aiohttp import HttpxAiohttpClient

from extractors.core.errors import ConfigurationError, first_line
from extractors.core.money import Price

if TYPE_CHECKING:
    from extractors.call.profiles import Endpoint

CONNECT_SECONDS = 10.0
MODELS_SECONDS = 5.0
MAX_PRICE = 1_000_000  # a million tokens: what is dearer is no price, and its costs would fit in no column
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})  # never behind a proxy


def build_client(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client for this endpoint; `transport` replaces the network in tests. Proxies come from the environment."""
    headers = {"content-type": "application/json", "user-agent": "tilewise"}
    if endpoint.api_key:
        headers["authorization"] = f"Bearer {endpoint.api_key.get_secret_value()}"
    return HttpxAiohttpClient(
        base_url=endpoint.base_url.rstrip("/") + "/",
        headers=headers,
        timeout=httpx.Timeout(endpoint.read_timeout, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
        transport=transport,
        trust_env=urlsplit(endpoint.base_url).hostname not in LOOPBACK,
    )


async def fetch_models(http: httpx.AsyncClient) -> dict[str, Price | None]:
    """The models that the server lists, with their prices where it gives them; empty when it lists none.

    A server need not have this list: what keeps it from being read is no error, and the first call will tell. Raises
    ConfigurationError when there is no server at this address at all.
    """
    try:
        return parse_models(await http.get("models", timeout=MODELS_SECONDS))
    except httpx.HTTPError as error:
        # The aiohttp transport reports a refused connection as one that timed out; its cause is what it was.
        if isinstance(error, httpx.ConnectError) or isinstance(error.__cause__, aiohttp.ClientConnectorError):
            raise ConfigurationError(f"endpoint {http.base_url} cannot be reached: {first_line(error)}") from None
        return {}


def parse_models(response: httpx.Response) -> dict[str, Price | None]:
    """The models in a server's answer: a bare array at Together, elsewhere under `data`; empty for anything else."""
    try:
        listed = orjson.loads(response.content) if response.status_code == httpx.codes.OK else []
    except orjson.JSONDecodeError:
        return {}
    entries = listed.get("data", []) if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        return {}
    return {
        entry["id"]: _parse_price(entry.get("pricing"))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }


def _parse_price(pricing: object) -> Price | None:
    """The price in a listing; None where it is not given, or is 0 for both, which lists mean as 'not listed'."""
    if not isinstance(pricing, dict):
        return None
    try:
        amounts = [Decimal(str(pricing[key])) for key in ("input", "output")]
        cached = Decimal(str(pricing["cached_input"])) if pricing.get("cached_input") else None
    except (KeyError, InvalidOperation):
        return None
    named = amounts if cached is None else [*amounts, cached]
    if not all(amount.is_finite() and 0 <= amount < MAX_PRICE for amount in named) or not any(amounts):
        return None
    return Price(amounts[0], amounts[1], cached, as_of=datetime.now(UTC).date())
