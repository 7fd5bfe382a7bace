"""Where calls go, and what differs between OpenAI-compatible servers, as values: a profile is chosen by name or by the host."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of server: what a request says to switch reasoning off, and how it names the answer's limit.

    `flat`: the JSON schema is also given in the flat form `{"type": "json_schema", "schema": …}`, for servers that know
    only that; those that know both ignore it.
    """

    name: str
    reasoning_off: Mapping[str, object]
    max_tokens: str = "max_tokens"
    flat_schema: bool = False


PROFILES = MappingProxyType(
    {
        each.name: each
        for each in (
            Profile("together", {"reasoning": {"enabled": False}}),
            Profile("openai", {}, max_tokens="max_completion_tokens"),
            Profile("vllm", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
            Profile("generic", {}, flat_schema=True),
        )
    }
)


def find_profile(base_url: str) -> Profile:
    """The profile of the server at this address: Together's and OpenAI's hosts are known, others are `generic`."""
    host = urlsplit(base_url).hostname or ""
    for domain, name in (("together.ai", "together"), ("together.xyz", "together"), ("openai.com", "openai")):
        if host == domain or host.endswith(f".{domain}"):
            return PROFILES[name]
    return PROFILES["generic"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where calls go: the address up to and with `/v1`, the key if there is one, the connections that are kept.

    `silence` is the seconds that may pass between two pieces of a reply.
    """

    base_url: str
    api_key: SecretStr | None = None
    read_timeout: float = 120.0
    concurrency: int = 64
