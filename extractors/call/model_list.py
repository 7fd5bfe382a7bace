"""Reads a server's list of models, with the prices of those that it gives them for.

A price is dollars for a million tokens at some servers and dollars for one token at others, so a price whose unit is
unknown is refused: a budget that is a million times too large would hold nothing.

| host | keys | unit |
|---|---|---|
| Together | `input`, `output`, `cached_input` | a million tokens |
| OpenRouter, and gateways with its keys | `prompt`, `completion`, `input_cache_read` | one token |
| Vercel's gateway | `input`, `output`, `input_cache_read` | one token |
| others | `input`, `output` | unknown |
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import aiohttp
import httpx

from extractors.call.error_body import parse_json
from extractors.call.profiles import find_price_unit
from extractors.core.errors import ConfigurationError, first_line
from extractors.core.money import MILLION, Price

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extractors.call.profiles import PriceUnit, Profile

MODELS_SECONDS = 5.0
MAX_PRICE = 20_000  # dollars for a million tokens: no model costs more, so a higher price has another unit
MIN_PRICE = Decimal("0.0005")  # and a lower one that is not 0, too: a budget would hold nothing
_CACHED = ("cached_input", "input_cache_read", "cache_read")


async def fetch_models(http: httpx.AsyncClient, profile: Profile) -> dict[str, Price | None]:
    """The models that the server lists, with their prices where it gives them; empty when it lists none.

    The list is optional: failing to read it is no error, since the first call reports what is wrong. Raises
    ConfigurationError when there is no server at this address.
    """
    try:
        return parse_models(await http.get("models", timeout=MODELS_SECONDS), profile)
    except httpx.HTTPError as error:
        # The aiohttp transport reports a refused connection as a timeout; the cause tells them apart.
        if isinstance(error, httpx.ConnectError) or isinstance(error.__cause__, aiohttp.ClientConnectorError):
            raise ConfigurationError(f"endpoint {http.base_url} cannot be reached: {first_line(error)}") from None
        return {}


def parse_models(response: httpx.Response, profile: Profile) -> dict[str, Price | None]:
    """The models in a server's answer: a bare array at Together, elsewhere under `data`; empty for anything else."""
    listed = parse_json(response.content) if response.status_code == httpx.codes.OK else []
    entries = listed.get("data", []) if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        return {}
    unit = find_price_unit(str(response.request.url), profile)
    return {
        entry["id"]: _parse_price(entry.get("pricing"), unit)
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }


def _parse_price(pricing: object, unit: PriceUnit | None) -> Price | None:
    """The price in a listing; None where it is not given, its unit is unknown, or both parts are 0: 'not listed'."""
    if not isinstance(pricing, dict):
        return None
    keys = ("input", "output")
    if "prompt" in pricing and "completion" in pricing:
        keys, unit = ("prompt", "completion"), "token"
    if unit is None:
        return None
    if str(pricing.get("currency") or "USD").upper() not in {"USD", "$"}:
        return None
    factor = MILLION if unit == "token" else Decimal(1)
    amounts = [_parse_amount(pricing, key, factor) for key in keys]
    if _read_amount(pricing, "request") > 0:  # OpenRouter's price of a call, which no price of tokens covers
        return None
    named = next((key for key in _CACHED if pricing.get(key)), None)
    cached = _parse_amount(pricing, named, factor) if named else None
    if None in amounts or (named and cached is None) or not any(amounts):
        return None
    price_in, price_out = (amount for amount in amounts if amount is not None)
    return Price(price_in, price_out, cached, as_of=datetime.now(UTC).date())


def _parse_amount(pricing: Mapping[str, object], key: str, factor: Decimal) -> Decimal | None:
    """Dollars for a million tokens, None for what is no price, or has another unit than that of the list."""
    amount = _read_amount(pricing, key) * factor
    return amount if amount == 0 or MIN_PRICE <= amount < MAX_PRICE else None


def _read_amount(pricing: Mapping[str, object], key: str) -> Decimal:
    """The number as it is listed; -1 if the value is not a number."""
    try:
        amount = Decimal(str(pricing[key]))
    except (KeyError, InvalidOperation):
        return Decimal(-1)
    return amount if amount.is_finite() else Decimal(-1)
