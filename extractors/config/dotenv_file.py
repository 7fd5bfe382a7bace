"""The variables of `.env` in the working directory."""

from __future__ import annotations

from pathlib import Path

from extractors.core.errors import ConfigurationError

DOTENV = ".env"


def read_dotenv() -> dict[str, str | None]:
    """Reads `.env`; empty if the file does not exist. Raises ConfigurationError for a file that cannot be read."""
    if not Path(DOTENV).is_file():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - only where there is a file

    try:
        return dotenv_values(DOTENV, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{DOTENV} cannot be read: {error}") from error
