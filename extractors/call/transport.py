"""The HTTP client: httpx's API on aiohttp's connections, one pool for a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from httpx_aiohttp import HttpxAiohttpClient

if TYPE_CHECKING:
    from extractors.call.profiles import Endpoint

CONNECT_SECONDS = 10.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})  # never behind a proxy


def build_client(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Builds a client for this endpoint; `transport` replaces the network in tests. Proxies come from the environment.

    It follows no redirects, so that the key and the user's headers and query reach this address only.
    """
    if endpoint.query:  # httpx logs every URL at this level, with its query
        logging.getLogger("httpx").setLevel(logging.WARNING)
    return HttpxAiohttpClient(
        base_url=endpoint.base_url.rstrip("/") + "/",
        params=dict(endpoint.query),
        headers=_build_headers(endpoint),
        timeout=httpx.Timeout(endpoint.read_timeout, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
        transport=transport,
        trust_env=urlsplit(endpoint.base_url).hostname not in LOOPBACK,
        follow_redirects=False,
    )


def _build_headers(endpoint: Endpoint) -> httpx.Headers:
    """The headers of every request; the user's own win."""
    headers = httpx.Headers({"content-type": "application/json", "user-agent": "tilewise"})
    if endpoint.api_key:
        key, name = endpoint.api_key.get_secret_value(), endpoint.profile.key_header
        headers[name] = f"Bearer {key}" if name == "authorization" else key
    headers.update({name: value.get_secret_value() for name, value in endpoint.headers.items()})
    return headers
