"""What a profile of AWS's own files says, for the store that reads environment and instance role by itself."""

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
# Whoever sets one of these has said where credentials come from; a profile that is named still wins over the last two.
_SAID = ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE")
_ROLE = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def profile(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the environment leaves open and the profile says: keys, `region`, `endpoint`.

    Raises ConfigurationError for a profile that is named and missing, or that signs in by a program of its own.
    """
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    shown = name or "default"
    config = _section(
        _file(environ, "AWS_CONFIG_FILE", "config"), "default" if shown == "default" else f"profile {shown}"
    )
    secrets = _section(_file(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials"), shown)
    wanted = not any(environ.get(each) for each in (*_SAID, *(() if name else _ROLE)))
    if wanted and name and not config and not secrets:
        raise ConfigurationError(
            f"AWS_PROFILE={name}: no profile of this name: `aws configure list-profiles` shows them"
        )
    both = config | secrets
    said = {theirs: both[ours] for ours, theirs in _KEYS.items() if ours in both} if wanted else {}
    if wanted and name and "access_key_id" not in said:
        raise ConfigurationError(
            f"AWS_PROFILE={name}: it holds no keys: sign in, and export them with"
            f' `eval "$(aws configure export-credentials --profile {name} --format env)"`'
        )
    if not environ.get("AWS_REGION") and not environ.get("AWS_DEFAULT_REGION") and "region" in both:
        said["region"] = both["region"]
    if not any(environ.get(each) for each in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")) and "endpoint_url" in both:
        said["endpoint"] = both["endpoint_url"]
    return said


def _file(environ: Mapping[str, str], variable: str, name: str) -> Path:
    home = environ.get("HOME") or "~"
    return Path(environ.get(variable) or f"{home}/.aws/{name}").expanduser()


def _section(path: Path, name: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError, Error) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None  # its words quote the file
    return dict(parser[name]) if parser.has_section(name) else {}
