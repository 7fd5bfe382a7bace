"""Job: what one run is asked to do. The command line and the Prefect form are this one model."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema, field_validator

from extractors.config.time_window import TimeWindow, parse_time
from extractors.core import REJECT_REASONS, Outcome, tiles
from extractors.core.errors import ConfigurationError, format_value
from extractors.core.schema import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.config import JsonDict

Policy = Literal["balanced", "faithful", "thrifty"]
ModelT = TypeVar("ModelT", bound=BaseModel)
Redo = Literal["failed", "changed", "reparse", "all"]

# What a form asks for where pydantic takes more than one type for the same thing.
DOLLARS = WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
_DAY = WithJsonSchema({"type": "string", "format": "date"})  # a time is taken, too; a form's would begin the last day
_DURATION = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhd]?\s*$"},
            {"type": "number", "exclusiveMinimum": 0},
        ]
    }
)

FAIL_ABOVE = 0.2  # of a deployment's run, which a person looks at later; of the command's it is 0
KINDS = sorted({*REJECT_REASONS, *get_args(Outcome)} - {"accepted"})  # of a failure


def check_base_url(value: str) -> str:
    """An endpoint's address, or `offline`. Raises ValueError for what is none, or would carry a password into a table."""
    if value == "offline":
        return value
    parts = urlsplit(value)
    if parts.port == 0 or re.search(r"\s", value):  # reading a port that is none raises ValueError
        raise ValueError("must be an address without spaces, with a port from 1 to 65535")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https://, or be offline")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not hold a user, a password or a query: set TILEWISE_API_KEY")
    return value.rstrip("/")


def simplify_form(schema: JsonDict) -> None:
    """Makes a model's JSON schema one that Prefect shows as a plain form.

    The fields come in the model's order, which a database may lose: each carries its place. What may be left out is left
    empty, where a choice between a type and `None` would have to be opened before anything can be written.
    """
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for place, shown_as in enumerate(properties.values()):
        assert isinstance(shown_as, dict)
        shown_as["position"] = place
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


class Job(BaseModel):
    """Which images are read, by which schema, and how. What is left empty is as usual."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        json_schema_extra=simplify_form,
    )

    source: str = Field(
        min_length=1,
        title="Source",
        description="A folder or a bucket of images (s3://, gs://, az://), one image, or a manifest (.txt, .csv, .jsonl,"
        " .parquet with a column uri).",
    )
    schema_name: str = Field(
        "",
        title="Schema",
        description=f"What the documents are: {', '.join(shipped())}, or package.module:Model for one of your own; only an"
        " estimate needs none.",
        examples=shipped(),
    )
    policy: Policy = Field(
        "balanced",
        title="Policy",
        description="faithful: keep every pixel that is seen; balanced: start cheap, climb when the answer fails;"
        " thrifty: start cheaper.",
    )
    output: str | None = Field(
        None,
        title="Output",
        description="The folder or bucket that the tables are written under; that of TILEWISE_OUTPUT when left empty.",
    )
    modified_since: Annotated[datetime | None, _DAY] = Field(
        None, title="Modified since", description="Only images modified from this UTC day or time on."
    )
    modified_until: Annotated[datetime | None, _DAY] = Field(
        None, title="Modified until", description="Only images modified up to this UTC day or time, included."
    )
    redo: Redo | None = Field(
        None,
        title="Do again",
        description="Take also what is done. failed: what failed for good; changed: what was read by another schema, prompt"
        " or model; reparse: read stored answers again, without a call; all: everything.",
    )
    kind: str | None = Field(
        None,
        title="Kind",
        description="With failed: of what failed for good, only this reject reason or outcome.",
        json_schema_extra={"enum": [*KINDS]},
    )
    budget: Annotated[Decimal, Field(gt=0, allow_inf_nan=False), DOLLARS] | None = Field(
        None, title="Budget", description="The most that this run may spend, in dollars."
    )
    model: str | None = Field(
        None, title="Model", description="The model's id at the endpoint; that of TILEWISE_MODEL when left empty."
    )
    limit: int | None = Field(None, ge=1, title="Limit", description="Take at most so many documents.")
    plan_only: bool | None = Field(
        None,
        title="Plan only",
        description="Store the plan and its bill, and run nothing: the deployment apply runs it when somebody approves."
        " When nothing is chosen, a backfill that may cost more than TILEWISE_ASK_ABOVE does so.",
        json_schema_extra={"enum": [True, False]},  # a choice that can be left open, where a switch is on or off
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Estimate only; write nothing.")
    yes: bool = Field(default=False, title="Yes", description="Go on whatever the estimate says.")
    base_url: str | None = Field(
        None,
        title="Base URL",
        description="The API's address, up to and with /v1; that of TILEWISE_BASE_URL when left empty.",
    )
    offline: bool = Field(default=False, title="Offline", description="Read with local OCR instead of the API.")
    bill: str = Field("auto", title="Bill rule", description="How the server bills an image; auto knows.")
    fail_above: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Fail above",
        description="The share of failures above which the run counts as failed.",
        json_schema_extra={"default": FAIL_ABOVE},
    )
    max_time: Annotated[float | None, _DURATION] = Field(
        None, gt=0, title="Longest time", description="Stop taking new documents after this: 90s, 30m, 6h, or seconds."
    )
    document_by: Literal["folder", "name", "frames"] | None = Field(
        None,
        title="Document by",
        description="What makes several pages one document: the folder, the name (a-1.jpg, a-2.jpg), the frames of a TIFF."
        " The pages of a PDF always belong together.",
    )
    send_urls: bool = Field(
        default=False, title="Send URLs", description="Pass images at http(s) URLs on instead of fetching them."
    )
    video_tokens: int | None = Field(
        None, ge=1, title="Video tokens", description="The most tokens that one video is expected to be billed."
    )
    shard_size: int | None = Field(
        None,
        ge=1,
        title="Shard size",
        description="Spread the work over the workers of the work pool: cut the plan into runs of the deployment shard, so"
        " many documents each.",
    )

    @property
    def window(self) -> TimeWindow:
        """When the images were modified that this job is about."""
        return TimeWindow(self.modified_since, self.modified_until)

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        return None if value is None else check_base_url(value)

    @field_validator("max_time", mode="before")
    @classmethod
    def _parse_duration(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        written = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip())
        if not written:
            raise ValueError("write it as 90s, 30m, 6h or 1d")
        return float(written[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[written[2]]

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value not in KINDS:
            raise ValueError(f"use {', '.join(KINDS)}")
        if value is not None and info.data.get("redo", "failed") != "failed":
            raise ValueError("choose it together with --redo failed: it is the kind of failure to take again")
        return value

    @field_validator("modified_since", "modified_until", mode="before")
    @classmethod
    def _parse_time(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        written = value.isoformat() if isinstance(value, date) else value
        return parse_time(str(written).strip(), end=info.field_name == "modified_until")

    @field_validator("modified_until")
    @classmethod
    def _check_window(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("modified_since")
        if value and since and since > value:
            raise ValueError(f"earlier than --modified-since {since.isoformat()}: nothing lies between them")
        return value

    @field_validator("shard_size")
    @classmethod
    def _check_shard_size(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("redo") == "reparse":
            raise ValueError("stored answers are read again in one process: leave it out with --redo reparse")
        return value

    @field_validator("bill")
    @classmethod
    def _check_rule(cls, value: str) -> str:
        if value != "auto":
            tiles.rule(value)
        return value


def build_job(**fields: object) -> Job:
    """A Job from these fields. Raises ConfigurationError as `validated` does."""
    return validate(Job, fields)


def validate(model: type[ModelT], fields: Mapping[str, object]) -> ModelT:
    """What is asked for. Raises ConfigurationError that names the field, its value and what is allowed."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_format_error(each) for each in error.errors())) from None


def _format_error(error: object) -> str:
    assert isinstance(error, dict)
    flag = ".".join(str(part) for part in error["loc"]).replace("schema_name", "schema").replace("_", "-")
    return f"{flag} {format_value(error['input'])}: {error['msg'].removeprefix('Value error, ')}"
