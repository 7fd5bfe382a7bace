"""Read a profile from AWS's configuration files; obstore itself reads only the environment and instance roles."""

from __future__ import annotations

import os
from configparser import ConfigParser, Error
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
# Each of these names the source of credentials; an explicit profile still wins over _ROLE.
_EXPLICIT = ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE")
_ROLE = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def read_profile(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the profile adds to the environment: keys, `region`, `endpoint`.

    Raises ConfigurationError for an explicit profile that is missing or holds no keys.
    """
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    section = name or "default"
    config = _read_section(
        _profile_path(environ, "AWS_CONFIG_FILE", "config"), "default" if section == "default" else f"profile {section}"
    )
    secrets = _read_section(_profile_path(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials"), section)
    use_profile = not any(environ.get(variable) for variable in (*_EXPLICIT, *(() if name else _ROLE)))
    if use_profile and name and not config and not secrets:
        raise ConfigurationError(
            f"AWS_PROFILE={name}: no profile of this name: `aws configure list-profiles` shows them"
        )
    merged = config | secrets
    values = {option: merged[key] for key, option in _KEYS.items() if key in merged} if use_profile else {}
    if use_profile and name and "access_key_id" not in values:
        raise ConfigurationError(
            f"AWS_PROFILE={name}: it holds no keys: sign in, and export them with"
            f' `eval "$(aws configure export-credentials --profile {name} --format env)"`'
        )
    if not environ.get("AWS_REGION") and not environ.get("AWS_DEFAULT_REGION") and "region" in merged:
        values["region"] = merged["region"]
    if not any(environ.get(variable) for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")) and "endpoint_url" in merged:
        values["endpoint"] = merged["endpoint_url"]
    return values


def _profile_path(environ: Mapping[str, str], variable: str, name: str) -> Path:
    home = environ.get("HOME") or "~"
    return Path(environ.get(variable) or f"{home}/.aws/{name}").expanduser()


def _read_section(path: Path, name: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError, Error) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None  # its text quotes the file
    return dict(parser[name]) if parser.has_section(name) else {}
