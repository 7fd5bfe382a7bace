"""The settings that a flow run works with: those of its environment, with the key of a Prefect block where it has none."""

from __future__ import annotations

from prefect.blocks.system import Secret

from extractors.settings import Settings, read_settings

BLOCK = "tilewise-api-key"


async def flow_settings() -> Settings:
    """The settings in force; a key that the environment does not have is looked for in Prefect, where it may be absent."""
    settings = read_settings()
    if settings.api_key is not None:
        return settings
    try:
        block: Secret[str] = await Secret.aload(BLOCK)
    except ValueError:  # Prefect's word for a block that is not there
        return settings
    return settings.with_key(str(block.get()))
