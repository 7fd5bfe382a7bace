"""The kinds of OpenAI-compatible servers, as values: a profile is chosen by name or by the host."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

PriceUnit = Literal["million", "token"]
AZURE_API_VERSION = "2024-10-21"  # where the base URL names none
_BEFORE_DEPLOYMENTS = re.compile(r"(/openai)?/?")


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of server: how a request switches reasoning off, how it names the token limit and carries the key.

    `flat_schema`: the JSON schema is also given in the flat form `{"type": "json_schema", "schema": …}`, for servers that
    know only that; those that know both ignore it. `logprobs`: the value that asks for log probabilities. `price_unit`: the tokens that a price in its list of models is for,
    None where that is unknown.
    """

    name: str
    reasoning_off: Mapping[str, object]
    max_tokens: str = "max_tokens"
    flat_schema: bool = False
    key_header: str = "authorization"
    logprobs: bool | int = True
    price_unit: PriceUnit | None = None


_NO_REASONING = {"reasoning": {"enabled": False}}
PROFILES = MappingProxyType(
    {
        each.name: each
        for each in (
            Profile("together", _NO_REASONING, logprobs=1, price_unit="million"),
            Profile("openai", {}, max_tokens="max_completion_tokens"),
            Profile("azure", {}, max_tokens="max_completion_tokens", key_header="api-key"),
            Profile("openrouter", _NO_REASONING, price_unit="token"),
            Profile("vllm", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
            Profile("generic", {}, flat_schema=True),
        )
    }
)
_HOSTS = (
    ("together.ai", "together"),
    ("together.xyz", "together"),
    ("openai.com", "openai"),
    ("openrouter.ai", "openrouter"),
    ("openai.azure.com", "azure"),
    ("cognitiveservices.azure.com", "azure"),
    ("services.ai.azure.com", "azure"),
)
_PRICE_UNITS: tuple[tuple[str, PriceUnit], ...] = (("ai-gateway.vercel.sh", "token"),)


def find_profile(base_url: str) -> Profile:
    """The profile of the server at this address; a host that is not known is `generic`."""
    return next((PROFILES[name] for domain, name in _HOSTS if _is_below(base_url, domain)), PROFILES["generic"])


def find_price_unit(base_url: str, profile: Profile) -> PriceUnit | None:
    """The unit of the prices that the server at this address lists, None where it is unknown."""
    return next((unit for domain, unit in _PRICE_UNITS if _is_below(base_url, domain)), profile.price_unit)


def _is_below(base_url: str, domain: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == domain or host.endswith(f".{domain}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where calls go: the address up to and with `/v1`, the key if there is one, the connections that are kept.

    `read_timeout` is the seconds that may pass between two pieces of a reply. `headers` and `query` are the user's own:
    their values are secrets, and go to this address only.
    """

    base_url: str
    api_key: SecretStr | None = None
    read_timeout: float = 120.0
    concurrency: int = 64
    profile: Profile = PROFILES["generic"]
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def for_model(self, model: str) -> Endpoint:
        """The same for calls of this model: Azure has an address for each deployment, and wants a version of its API."""
        if self.profile.name != "azure":
            return self
        parts = urlsplit(self.base_url)
        if "/deployments/" not in parts.path and not _BEFORE_DEPLOYMENTS.fullmatch(parts.path):
            return self
        base_url = self.base_url.rstrip("/")
        if "/deployments/" not in parts.path:
            base_url = f"{base_url.removesuffix('/openai')}/openai/deployments/{quote(model, safe='')}"
        query = self.query
        if not any(name == "api-version" for name, _ in query):
            query = (*query, ("api-version", AZURE_API_VERSION))
        return Endpoint(base_url, self.api_key, self.read_timeout, self.concurrency, self.profile, self.headers, query)
