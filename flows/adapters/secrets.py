"""The settings of a flow run: those of its environment, with the key of a Prefect block if the environment has none."""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment

from extractors.config.settings import Settings, read_settings
from extractors.core.errors import ConfigurationError
from extractors.core.schema_files import allow_own_files_only

BLOCK = "tilewise-api-key"
BLOCK_LABEL = f"the Prefect Secret block `{BLOCK}`"


async def load_flow_settings() -> Settings:
    """The settings of the environment; without a key there, the key of the Prefect block, if it exists.

    A block that cannot be read raises no error here, because the run may need no key: the place is noted for its message.
    """
    if deployment.id:  # the job came from a form or the API
        allow_own_files_only()
    settings = read_settings()
    if settings.api_key is not None:
        return settings
    try:
        key = await read_block_key()
    except BlockUnreadableError as error:
        return settings.with_key_place(f"{BLOCK_LABEL} ({error.message})")
    return settings.with_key_place(BLOCK_LABEL) if key is None else settings.with_key(key)


class BlockUnreadableError(ConfigurationError):
    """The block may exist, but cannot be read now or with this login."""


async def read_block_key() -> str | None:
    """The key in the block, None if there is no block.

    Raises BlockUnreadableError if the server does not tell, ConfigurationError if the block holds no key.
    """
    try:
        async with get_client() as client:  # `Secret.aload` would emit events, and turn a key of digits into a number
            block = await client.read_block_document_by_name(BLOCK, "secret")
    except ObjectNotFound:
        return None
    except httpx.HTTPStatusError as error:
        raise BlockUnreadableError(
            f"cannot be read: the Prefect server answers HTTP {error.response.status_code}"
        ) from None
    except httpx.HTTPError as error:
        raise BlockUnreadableError(
            f"cannot be read: the Prefect server does not answer: {type(error).__name__}"
        ) from None
    except ValueError:
        raise BlockUnreadableError(
            "cannot be read: the server at PREFECT_API_URL did not return a valid Prefect response"
        ) from None
    key = block.data.get("value")
    if not isinstance(key, str) or key.lstrip().startswith(("{", "[")):
        raise ConfigurationError(f"{BLOCK_LABEL} holds JSON: save only the key in it, as text")
    return key
