"""Settings: endpoint, key, limits, ledger. The only module that reads the environment.

The environment (`TILEWISE_*`) wins over `.env`, which wins over `tilewise.toml`; both files are read from the working
directory. `tilewise.toml` uses names in lower case without the prefix (`model = "…"`); the key is read only from the
environment or `.env`.
"""

from __future__ import annotations

import os
import re
import tomllib
from decimal import Decimal
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson
import platformdirs
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
)

from extractors.config.dotenv_file import DOTENV, read_dotenv
from extractors.config.headers import parse_headers
from extractors.config.job import check_base_url
from extractors.core.errors import ConfigurationError, format_reason, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

PREFIX = "TILEWISE_"
SQLITE, POSTGRESQL = "sqlite:///", "postgresql+psycopg://"
TOML = "tilewise.toml"
# A key as `docker --env-file` leaves it, in quotation marks, or copied with the head of its header.
_KEY = re.compile(r"""\A(?:Bearer\s+)?(["']?)(?:Bearer\s+)?(.*)\1\Z""", re.DOTALL | re.IGNORECASE)
KEY_NAMES = ("TILEWISE_API_KEY", "TOGETHER_API_KEY")  # the first wins
TOGETHER = "https://api.together.ai/v1"


def _default_ledger() -> str:
    return f"sqlite:///{platformdirs.user_state_path('tilewise') / 'ledger.db'}"


class Settings(BaseModel):
    """The settings of one installation, common to all its runs."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    base_url: str | None = None
    api_key: SecretStr | None = Field(None, validation_alias=AliasChoices(*KEY_NAMES))
    model: str | None = None
    profile: Literal["together", "openai", "azure", "openrouter", "vllm", "generic"] | None = None
    headers: dict[str, SecretStr] = {}  # a model's default is copied
    mode: Literal["json_schema", "json_object", "tools", "prompt"] = "json_schema"
    stream: bool = False
    temperature: float = Field(0.0, ge=0, le=2)
    reasoning: Literal["off", "on"] = "off"
    max_tokens: int = Field(2048, ge=1)
    timeout: float = Field(120.0, gt=0, allow_inf_nan=False)
    attempts: int = Field(6, ge=1)
    reasks: int = Field(1, ge=0)
    concurrency: int = Field(64, ge=1)
    rpm: float | None = Field(None, gt=0)
    tpm: float | None = Field(None, gt=0)
    drain: float = Field(20.0, ge=0)
    chunk: int = Field(500, ge=1)
    volume: int = Field(50_000, ge=1)
    output: str = "data/out"
    ledger: str = Field(default_factory=_default_ledger)
    daily_budget: Decimal | None = Field(None, ge=0, allow_inf_nan=False)
    ask_above: Decimal = Field(Decimal(5), ge=0)
    prices: Path | None = None
    on_model_change: Literal["warn", "stop"] = "warn"
    keep_replies: Literal["all", "failed", "none"] = "all"
    allow_hosts: tuple[str, ...] = ()
    pdf_passwords: tuple[SecretStr, ...] = ()
    max_images: int = Field(10, ge=1)
    dedicated: bool = False
    direct: bool = False
    confidence: bool = False  # offline: true unless it is set
    _key_place: str = PrivateAttr("")

    @property
    def key_places(self) -> str:
        """The places that can hold the key, for messages."""
        return f"TOGETHER_API_KEY or {self._key_place}" if self._key_place else "TOGETHER_API_KEY"

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger exists; the first run creates one in a file."""
        return not self.ledger.startswith(SQLITE) or Path(self.ledger.removeprefix(SQLITE)).is_file()

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        key = _KEY.sub(r"\2", value.get_secret_value().strip()) if value else ""
        if not (key.isascii() and key.isprintable()):
            raise ValueError("must be printable ASCII, because it is sent as an HTTP header")
        return SecretStr(key) if key else None

    def with_key(self, key: str) -> Settings:
        """A copy with this key. Raises ConfigurationError, which does not quote the key, for an invalid one."""
        try:
            return self.model_copy(update={"api_key": self._check_key(SecretStr(key))})
        except ValueError as error:
            raise ConfigurationError(f"the key {error}") from None

    def with_key_place(self, place: str) -> Settings:
        """A copy that names another place which can hold the key."""
        settings = self.model_copy()
        settings._key_place = place  # noqa: SLF001 - a copy of this class
        return settings

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        return None if value is None else check_base_url(value, with_query=True)

    @field_validator("headers", mode="before")
    @classmethod
    def _check_headers(cls, value: object) -> dict[str, str]:
        return parse_headers(value)

    @field_validator("allow_hosts", mode="before")
    @classmethod
    def _parse_hosts(cls, value: object) -> tuple[str, ...]:
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, list | tuple):
            raise ValueError("must be host names, separated by commas")  # noqa: TRY004 - pydantic makes its errors of these
        hosts = [str(each).strip().lower() for each in listed]
        if wrong := next((each for each in hosts if each and not _is_host(each)), None):
            raise ValueError(
                f"must be host names or addresses with an optional port, separated by commas: {format_value(wrong)} is not one;"
                " use the form images.example, 10.0.0.5:8080 or [fd00::5], without scheme, path, range or *"
            )
        return tuple(filter(None, hosts))

    @field_validator("pdf_passwords", mode="before")
    @classmethod
    def _parse_passwords(cls, value: object) -> tuple[str, ...]:
        try:
            listed = orjson.loads(value) if isinstance(value, str) and value.startswith("[") else value
        except orjson.JSONDecodeError:
            listed = None
        listed = listed.split(",") if isinstance(listed, str) else listed
        if not isinstance(listed, list | tuple) or not all(isinstance(each, str | SecretStr) for each in listed):
            raise ValueError('must be passwords separated by commas, or a JSON list of them, as ["a,b", "c"]')
        return tuple(each for each in listed if each)

    @field_validator("ledger")
    @classmethod
    def _check_ledger(cls, value: str) -> str:
        if value.removeprefix(SQLITE) not in {value, "", ":memory:"}:
            return value
        if value.startswith(POSTGRESQL) and len(value) > len(POSTGRESQL):
            if value.partition("?")[0].count("@") > 1:
                raise ValueError("must contain only one @, before the host: write an @ of the password as %40")
            return value
        raise ValueError(f"must be {SQLITE} and the path of a file, or {POSTGRESQL}user@host/database")


def _is_host(text: str) -> bool:
    matched = re.fullmatch(r"(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?|[0-9a-f:.]+", text)
    if not matched or not 0 < int(matched[2] or 1) < 65_536:
        return False
    host = (matched[1] or text).strip("[]")
    try:
        return ":" not in host or bool(IPv6Address(host))
    except ValueError:
        return False


def read_settings() -> Settings:
    """Reads the settings. Raises ConfigurationError that names each invalid setting, its value and what is allowed."""
    try:
        return Settings.model_validate(_read_toml(Path(TOML)) | _select(read_dotenv()) | _select(os.environ))
    except ValidationError as error:
        raise ConfigurationError("; ".join(_format_error(each) for each in error.errors())) from None


def _select(variables: Mapping[str, str | None]) -> dict[str, object]:
    """The fields that these variables set; an empty one sets nothing."""
    present = {name.upper(): value for name, value in variables.items() if value}
    return {
        field: present[name]
        for field in Settings.model_fields
        for name in reversed(_list_variables(field))
        if name in present
    }


def _list_variables(field: str) -> tuple[str, ...]:
    """The variables of a field, the strongest first."""
    return KEY_NAMES if field == "api_key" else (PREFIX + field.upper(),)


class Origin(NamedTuple):
    """The value of one setting, with secrets masked, and the place that it was read from."""

    name: str
    value: str
    place: str


def list_origins(settings: Settings) -> list[Origin]:
    """Lists every setting with the place that it was read from."""
    sources = {"environment": _select(os.environ), DOTENV: _select(read_dotenv()), TOML: _read_toml(Path(TOML))}
    return [
        Origin(
            PREFIX + name.upper(),
            _format_value(getattr(settings, name)),
            next((place for place, fields in sources.items() if name in fields), "default"),
        )
        for name in Settings.model_fields
    ]


def _format_value(value: object) -> str:
    """A setting as a person writes it; a URL without its password."""
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, dict):
        return ",".join(f"{name}: {secret}" for name, secret in value.items())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(int(value))
    return format_value(value).strip("'") if isinstance(value, str) else str(value)


def find_unknown_settings() -> list[str]:
    """Lists variables with the prefix of the settings, also of `.env`, that are not settings: mostly typing errors."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    names = {*os.environ, *read_dotenv()}
    return sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known)


def _read_toml(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    for key in values:
        _check_key(path, key)
    return values


def _check_key(path: Path, key: str) -> None:
    """Raises ConfigurationError for a setting that a TOML file may not hold, or that does not exist."""
    secrets = {"api_key": "key", "headers": "extra headers", "pdf_passwords": "passwords"}
    allowed = sorted(Settings.model_fields.keys() - secrets.keys())
    if key in secrets:
        message = f"{path}: set the {secrets[key]} in the environment or .env, as {PREFIX}{key.upper()}"
        raise ConfigurationError(message)
    if key not in allowed:
        raise ConfigurationError(f"{path}: unknown setting {key!r}: use one of {', '.join(allowed)}")


def _format_error(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    name = name if name.isupper() else PREFIX + name.upper()
    secret = name.endswith(("API_KEY", "HEADERS", "PASSWORDS")) or (
        name.endswith("LEDGER") and "@" in str(error["input"])
    )
    value = "**********" if secret else format_value(error["input"])
    return f"{name}={value}: {format_reason(error['msg'])}"
