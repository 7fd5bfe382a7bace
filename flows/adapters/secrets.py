"""The settings that a flow run works with: those of its environment, with the key of a Prefect block where it has none."""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from extractors.config.settings import Settings, read_settings
from extractors.core.errors import ConfigurationError

BLOCK = "tilewise-api-key"
BLOCK_LABEL = f"the Prefect Secret block `{BLOCK}`"


async def load_flow_settings() -> Settings:
    """The settings in force; a key that the environment does not have is looked for in Prefect, where it may be absent.

    A block that cannot be read is a run's trouble where the run needs a key, which nobody knows here.
    """
    settings = read_settings()
    if settings.api_key is not None:
        return settings
    try:
        key = await read_block_key()
    except BlockUnreadableError as error:
        return settings.with_key_place(f"{BLOCK_LABEL} ({error.message})")
    return settings.with_key_place(BLOCK_LABEL) if key is None else settings.with_key(key)


class BlockUnreadableError(ConfigurationError):
    """The block may be there, and cannot be read now, or by this login."""


async def read_block_key() -> str | None:
    """The key in the block, None where there is no block.

    Raises UnreadError where that cannot be told, ConfigurationError where what it holds is none.
    """
    try:
        async with get_client() as client:  # `Secret.aload` would make events of it, and a number of a key of digits
            block = await client.read_block_document_by_name(BLOCK, "secret")
    except ObjectNotFound:
        return None
    except httpx.HTTPStatusError as error:
        raise BlockUnreadableError(f"it cannot be read: Prefect's server says {error.response.status_code}") from None
    except httpx.HTTPError as error:
        raise BlockUnreadableError(
            f"it cannot be read: Prefect's server does not answer: {type(error).__name__}"
        ) from None
    except ValueError:
        raise BlockUnreadableError("it cannot be read: what Prefect's server gives is none") from None
    key = block.data.get("value")
    if not isinstance(key, str) or key.lstrip().startswith(("{", "[")):
        raise ConfigurationError(f"{BLOCK_LABEL} holds JSON: save the key alone in it, as text")
    return key
