"""Job: the parameters of one run. The command line and the Prefect form share this model."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema, field_validator

from extractors.config.field_help import FIELD_HELP
from extractors.config.time_window import TimeWindow, parse_time
from extractors.core import REJECT_REASONS, Outcome, Redo, RedoScope, tiles
from extractors.core.errors import ConfigurationError, format_reason, format_value
from extractors.core.schema_files import list_own, list_shipped
from extractors.scan.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.config import JsonDict

Policy = Literal["balanced", "faithful", "thrifty"]
WitnessMode = Literal["doubtful", "all"]
DEFAULT_POLICY: Policy = "balanced"
ModelT = TypeVar("ModelT", bound=BaseModel)
Pattern = Annotated[str, Field(min_length=1)]

# The type shown in a form where pydantic accepts several types.
DOLLARS = WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
_DAY = WithJsonSchema(
    {"type": "string", "format": "date"}
)  # a time is accepted too; the time picker of a form would cut the last day
_INSTANT = WithJsonSchema({"type": "string"})  # to the microsecond, which no picker of a form gives
_DURATION = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhd]?\s*$"},
            {"type": "number", "exclusiveMinimum": 0},
        ]
    }
)

OVERRIDES = "Overrides the choice for an expensive run."
FAIL_ABOVE = 0.2  # default of deployments; the default of the command is 0
KINDS = sorted({*REJECT_REASONS, *get_args(Outcome)} - {"accepted"})  # of failures


def check_base_url(value: str, *, with_query: bool = False) -> str:
    """Checks the address of an endpoint, or `offline`. Raises ValueError if invalid or if it would store a secret.

    `with_query`: it may have a query, since it is not stored with the job.
    """
    if value == "offline":
        return value
    parts = urlsplit(value)
    if parts.port == 0 or re.search(r"\s", value):  # reading an invalid port raises ValueError
        raise ValueError("must be a URL without spaces, with a port from 1 to 65535")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https://, or be offline")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must not contain a user, a password or a fragment: set the key with TILEWISE_API_KEY")
    if parts.query and not with_query:
        raise ValueError("must not contain a query, which is stored with the job: set TILEWISE_BASE_URL")
    return parts._replace(path=parts.path.rstrip("/")).geturl()


def simplify_form(schema: JsonDict) -> None:
    """Changes the JSON schema of a model so that Prefect shows a plain form.

    Every field carries its position, because a database may lose their order. Optional fields are shown as empty fields;
    otherwise the form would ask to choose between a type and `None` first.
    """
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for place, shown_as in enumerate(properties.values()):
        assert isinstance(shown_as, dict)
        shown_as["position"] = place
        _simplify_field(shown_as)


def _simplify_field(shown_as: JsonDict) -> None:
    if shown_as.get("default", "") is None:
        del shown_as["default"]
    ways = shown_as.get("anyOf")
    if isinstance(ways, list):
        _drop_null(shown_as, [each for each in ways if isinstance(each, dict) and each.get("type") != "null"])


def _drop_null(shown_as: JsonDict, ways: list[JsonDict]) -> None:
    if len(ways) == 1:
        del shown_as["anyOf"]
        shown_as.update(ways[0])
    else:
        shown_as["anyOf"] = [*ways]


def _name_schemas(shown_as: JsonDict) -> None:
    """Completes the description of the schema field with the names that are known in the working folder."""
    names = dict.fromkeys((*list_own(), *list_shipped()))
    shown_as["description"] = f"{shown_as['description']} Known here: {', '.join(names)}."


class Job(BaseModel):
    """The images to process, the schema, and the options of the run. Empty fields take their defaults."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        json_schema_extra=simplify_form,
    )

    source: str = Field(min_length=1, title="Source", description=FIELD_HELP["source"])
    schema_name: str = Field(
        "",
        title="Schema",
        description=FIELD_HELP["schema_name"],
        examples=list_shipped(),
        json_schema_extra=_name_schemas,
    )
    model: str | None = Field(None, title="Model", description=FIELD_HELP["model"])
    output: str | None = Field(None, title="Output", description=FIELD_HELP["output"])
    budget: Annotated[Decimal, Field(gt=0, allow_inf_nan=False), DOLLARS] | None = Field(
        None, title="Money: budget", description=FIELD_HELP["budget"]
    )
    when_expensive: Literal["plan", "run", "stop"] = Field(
        "plan", title="Money: when expensive", description=FIELD_HELP["when_expensive"]
    )
    modified_since: Annotated[datetime | None, _DAY] = Field(
        None, title="Images: modified since", description=FIELD_HELP["modified_since"]
    )
    modified_until: Annotated[datetime | None, _DAY] = Field(
        None, title="Images: modified until", description=FIELD_HELP["modified_until"]
    )
    limit: int | None = Field(None, ge=1, title="Images: limit", description=FIELD_HELP["limit"])
    include: tuple[Pattern, ...] = Field((), title="Images: include", description=FIELD_HELP["include"])
    exclude: tuple[Pattern, ...] = Field((), title="Images: exclude", description=FIELD_HELP["exclude"])
    document_by: Literal["folder", "name", "frames", "page"] | None = Field(
        None, title="Images: document by", description=FIELD_HELP["document_by"]
    )
    redo: Redo | None = Field(None, title="Again: redo", description=FIELD_HELP["redo"])
    kind: str | None = Field(
        None, title="Again: kind", description=FIELD_HELP["kind"], json_schema_extra={"enum": [*KINDS]}
    )
    redo_before: Annotated[datetime | None, _INSTANT] = Field(
        None, title="Again: redo before", description=FIELD_HELP["redo_before"]
    )
    policy: Policy | None = Field(None, title="Tokens: policy", description=FIELD_HELP["policy"])
    climb_below: float | None = Field(
        None, gt=0, lt=1, title="Tokens: climb below", description=FIELD_HELP["climb_below"]
    )
    bill: str = Field("auto", title="Tokens: bill rule", description=FIELD_HELP["bill"])
    video_tokens: int | None = Field(None, ge=1, title="Tokens: of a video", description=FIELD_HELP["video_tokens"])
    confidence: bool = Field(default=False, title="Tokens: confidence", description=FIELD_HELP["confidence"])
    witness: WitnessMode | None = Field(None, title="Values: witness", description=FIELD_HELP["witness"])
    audit: int | None = Field(None, ge=1, title="Values: audit", description=FIELD_HELP["audit"])
    base_url: str | None = Field(None, title="Endpoint: base URL", description=FIELD_HELP["base_url"])
    offline: bool = Field(default=False, title="Endpoint: offline", description=FIELD_HELP["offline"])
    send_urls: bool = Field(default=False, title="Endpoint: send URLs", description=FIELD_HELP["send_urls"])
    fail_above: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Run: fail above",
        description=FIELD_HELP["fail_above"],
        json_schema_extra={"default": FAIL_ABOVE},
    )
    max_time: Annotated[float | None, _DURATION] = Field(
        None, gt=0, title="Run: maximum time", description=FIELD_HELP["max_time"]
    )
    shard_size: int | None = Field(None, ge=1, title="Run: shard size", description=FIELD_HELP["shard_size"])
    dry_run: bool = Field(default=False, title="Run: dry run", description=FIELD_HELP["dry_run"])
    plan_only: bool = Field(
        default=False, title="Always: plan only", description=f"{FIELD_HELP['plan_only']} {OVERRIDES}"
    )
    yes: bool = Field(default=False, title="Always: skip confirmation", description=f"{FIELD_HELP['yes']} {OVERRIDES}")

    @property
    def selection(self) -> Selection:
        """The patterns that choose images below the source."""
        return Selection(self.include, self.exclude)

    @property
    def redo_scope(self) -> RedoScope:
        """Which documents are processed again."""
        return RedoScope(self.redo, self.kind, self.redo_before)

    @property
    def window(self) -> TimeWindow:
        """The modification times of the images to process."""
        return TimeWindow(self.modified_since, self.modified_until)

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        return None if value is None else check_base_url(value)

    @field_validator("plan_only", mode="before")
    @classmethod
    def _accept_unset(cls, value: object) -> object:
        return False if value is None else value  # plans of earlier versions store null

    @field_validator("max_time", mode="before")
    @classmethod
    def _parse_duration(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        written = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip())
        if not written:
            raise ValueError("use the form 90s, 30m, 6h or 1d")
        return float(written[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[written[2]]

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value not in KINDS:
            raise ValueError(f"use one of {', '.join(KINDS)}")
        if value is not None and info.data.get("redo", "failed") != "failed":
            raise ValueError("requires --redo failed: it selects the kind of failure to process again")
        return value

    @field_validator("modified_since", "modified_until", "redo_before", mode="before")
    @classmethod
    def _parse_time(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        if info.field_name == "redo_before" and info.data.get("redo", "all") is None:
            raise ValueError("requires --redo: it limits what is processed again")
        written = value.isoformat() if isinstance(value, date) else value
        return parse_time(str(written).strip(), end=info.field_name == "modified_until")

    @field_validator("modified_until")
    @classmethod
    def _check_window(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("modified_since")
        if value and since and since > value:
            raise ValueError(f"is before --modified-since {since.isoformat()}: use a later time")
        return value

    @field_validator("shard_size")
    @classmethod
    def _check_shard_size(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("redo") == "reparse":
            raise ValueError("cannot be combined with --redo reparse, which runs in one process: leave it out")
        return value

    @field_validator("audit")
    @classmethod
    def _check_audit(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("redo") == "reparse":
            raise ValueError("cannot be combined with --redo reparse, which makes no call: leave it out")
        return value

    @field_validator("bill")
    @classmethod
    def _check_rule(cls, value: str) -> str:
        if value != "auto":
            tiles.get_rule(value)
        return value


def build_job(**fields: object) -> Job:
    """Builds a Job from these fields. Raises ConfigurationError as `validate` does."""
    return validate(Job, fields)


def validate(model: type[ModelT], fields: Mapping[str, object]) -> ModelT:
    """Validates the fields of a model. Raises ConfigurationError that names the field, its value and what is allowed."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_format_error(each) for each in error.errors())) from None


def _format_error(error: object) -> str:
    assert isinstance(error, dict)
    flag = ".".join(str(part) for part in error["loc"]).replace("schema_name", "schema").replace("_", "-")
    return f"{flag} {format_value(error['input'])}: {format_reason(error['msg'])}"
