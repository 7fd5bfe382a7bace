"""The configured Prefect API URL, from the places that Prefect reads, in its order; without importing Prefect."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.config.dotenv_file import read_dotenv
from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATABASE = tuple(
    f"PREFECT_{kind}_DATABASE_{name}"
    for kind in ("API", "SERVER")
    for name in ("CONNECTION_URL", "DRIVER", "HOST", "NAME", "PASSWORD", "PORT", "USER")
)
URL, PROFILES = "PREFECT_API_URL", "PREFECT_PROFILES_PATH"


def find_prefect_url() -> str | None:
    """The Prefect API URL of the environment, of the files in the working directory, or of the active profile.

    Raises ConfigurationError for a file that cannot be read.
    """
    places: list[Callable[[], object]] = [
        lambda: os.environ.get(URL),
        lambda: read_dotenv().get(URL),
        lambda: _look_up(_read_toml("prefect.toml"), "api", "url"),
        lambda: _look_up(_read_toml("pyproject.toml"), "tool", "prefect", "api", "url"),
        lambda: _read_profile().get(URL),
    ]
    urls = (place() for place in places)
    return next((url for url in urls if isinstance(url, str) and url), None)


def is_prefect_configured() -> bool:
    """Whether a Prefect API is set."""
    return find_prefect_url() is not None


def has_own_database() -> bool:
    """Whether the user has set a database for Prefect servers, in the places that Prefect reads."""
    environ = {**read_dotenv(), **_read_profile(), **os.environ}
    tables = (
        _look_up(_read_toml("prefect.toml"), "server", "database"),
        _look_up(_read_toml("pyproject.toml"), "tool", "prefect", "server", "database"),
    )
    return any(name.startswith(DATABASE) for name in environ) or any(isinstance(each, dict) and each for each in tables)


def _read_profile() -> Mapping[str, object]:
    """The active profile; empty if there is none or its file cannot be read."""
    named = os.environ.get(PROFILES) or read_dotenv().get(PROFILES)
    path = Path(named) if named else Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    profile = _look_up(profiles, "profiles", str(os.environ.get("PREFECT_PROFILE") or profiles.get("active")))
    return profile if isinstance(profile, dict) else {}


def _read_toml(name: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{name} cannot be read for Prefect settings: {error}; correct the file, or use --direct"
        ) from error


def _look_up(tables: object, *keys: str) -> object:
    """The value at these keys of nested tables; None if there is none."""
    for key in keys:
        tables = tables.get(key) if isinstance(tables, dict) else None
    return tables
