"""The configured Prefect API URL, from the places that Prefect reads, in its order; without importing Prefect."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.config.dotenv_file import read_dotenv
from extractors.core.errors import ConfigurationError, format_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATABASE = tuple(
    f"PREFECT_{kind}_DATABASE_{name}"
    for kind in ("API", "SERVER")
    for name in ("CONNECTION_URL", "DRIVER", "HOST", "NAME", "PASSWORD", "PORT", "USER")
)
REACH_SECONDS = 5.0
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


def find_other_server(port: int) -> str | None:
    """The configured Prefect API URL, unless it is that of the server which `serve` starts on this port."""
    url = find_prefect_url()
    return None if url is None or url.rstrip("/").replace("localhost", "127.0.0.1") == local_url(port) else url


def local_url(port: int) -> str:
    """The Prefect API URL of the server that `serve` starts on this port."""
    return f"http://127.0.0.1:{port}/api"


def check_reachable(url: str, hint: str = "") -> None:
    """Raises ConfigurationError, which ends with the hint, where nothing answers at this Prefect API URL.

    What it answers, Prefect's own client judges.
    """
    import socket  # noqa: PLC0415 - only where a server is configured
    from http.client import HTTPException  # noqa: PLC0415 - as above
    from urllib.error import URLError  # noqa: PLC0415 - as above
    from urllib.request import urlopen  # noqa: PLC0415 - as above

    reason: object = None
    try:
        urlopen(f"{url}/health", timeout=REACH_SECONDS).close()  # noqa: S310 - the user's own setting
    except URLError as error:  # also for an HTTP status: something answers
        reason = error.reason
    except TimeoutError as error:
        reason = error
    except (OSError, HTTPException, ValueError):  # a broken answer, or no URL
        pass
    if isinstance(reason, ConnectionRefusedError | socket.gaierror | TimeoutError):
        raise ConfigurationError(
            f"PREFECT_API_URL={format_value(url)} does not answer ({type(reason).__name__}): start the server or correct"
            f" the setting{hint}"
        )


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
