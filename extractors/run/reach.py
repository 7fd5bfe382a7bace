"""reach: the endpoint of a brief, as runs and probes reach it: its price list, its address, and the caller."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from extractors.call.circuit_breaker import CircuitBreaker
from extractors.call.client import ChatClient
from extractors.call.retry import Retries
from extractors.call.transport import build_client, fetch_models
from extractors.config.prices import find_price
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE
from extractors.endpoint.child import child
from extractors.endpoint.extra import EndpointError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AsyncExitStack

    from extractors.call.rate_limit import RateLimiter
    from extractors.config.run_config import RunConfig
    from extractors.core.money import Price
    from extractors.record.ledger import Ledger


async def price_in_force(config: RunConfig, ledger: Ledger) -> tuple[Price | None, bool]:
    """The price, and whether the endpoint reads with local OCR, which its list of models tells.

    Raises ConfigurationError when the price is unknown and a budget is to be held with it.
    """
    if config.offline:
        return _held(config, find_price(config, {}, free=True)), True
    async with build_client(config.endpoint_at(config.base_url)) as http:
        listed = await fetch_models(http)
    free = config.reads_locally(listed)
    served = {model: price or FREE for model, price in listed.items() if price or free}
    if served or (listed and config.reads_locally(ledger.memory.prices(config.endpoint))):
        ledger.memory.keep_prices(config.endpoint, served)
    return _held(config, find_price(config, served or ledger.memory.prices(config.endpoint), free=free)), free


async def caller(config: RunConfig, limiter: RateLimiter, stack: AsyncExitStack) -> ChatClient:
    """The way to the endpoint; the connections, and a child that reads with local OCR, are closed with the stack."""
    base_url = await stack.enter_async_context(_offline()) if config.offline else config.base_url
    http = await stack.enter_async_context(build_client(config.endpoint_at(base_url)))
    settings = config.settings
    return ChatClient(
        http, limiter, Retries(settings.attempts), CircuitBreaker(), timeout=settings.timeout, secret=config.secret
    )


def _held(config: RunConfig, price: Price | None) -> Price | None:
    if price is None and config.budget.limits:
        raise ConfigurationError(
            f"nobody knows the price of {config.model}, so no budget can be held: name it in TILEWISE_PRICES"
        )
    return price


@asynccontextmanager
async def _offline() -> AsyncIterator[str]:
    """The offline endpoint as a child process, billing by the formula, as `auto` plans for it."""
    try:
        async with child(reader="ocr", bill="formula") as base_url:
            yield base_url
    except EndpointError as error:
        raise ConfigurationError(str(error)) from None
