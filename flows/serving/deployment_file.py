"""The deployments of `prefect.yaml`, as Prefect registers them.

`prefect --no-prompt deploy --all` reads the same file: the one of the working directory, else the one that tilewise ships.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Schedule
from prefect.utilities.callables import ParameterSchema
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from extractors.core.errors import ConfigurationError, format_reason
from flows.serving.forms import split_form

FILE = "prefect.yaml"
FORMS = {"extract", "backfill", "apply", "estimate"}  # flows that a person starts, with a model as parameter


class DeploymentSpec(BaseModel):
    """One deployment of the file. Its work pool, which only `prefect deploy` needs, is ignored here."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)

    name: str
    entrypoint: str
    description: str | None = None
    tags: list[str] = Field(default_factory=list)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    schedules: list[Schedule] = Field(default_factory=list)
    concurrency_limit: int | ConcurrencyLimitConfig | None = None

    def to_runner_deployment(self) -> RunnerDeployment:
        """The deployment as Prefect registers it; unknown parameters are refused before a run is created."""
        made = RunnerDeployment.from_entrypoint(
            self.entrypoint,
            self.name,
            schedules=self.schedules,
            concurrency_limit=self.concurrency_limit,
            parameters=self.parameters,
            description=self.description,
            tags=self.tags,
        )
        known = made._parameter_openapi_schema.model_dump(exclude_unset=True)  # noqa: SLF001 - Prefect's own `deploy` sets it so
        if made.flow_name in FORMS:
            known = split_form(known, needs_schema=made.flow_name in {"extract", "backfill"})
        made._parameter_openapi_schema = _StrictParameters(**known, additionalProperties=False)  # noqa: SLF001 - likewise
        return made


class _StrictParameters(ParameterSchema):
    """A parameter schema that refuses unknown parameters; Prefect's own accepts them, and the run crashes."""

    additionalProperties: Literal[False]  # noqa: N815 - a keyword of JSON Schema


class _File(BaseModel):
    deployments: list[DeploymentSpec]


def load_deployments(path: Path | None = None) -> list[DeploymentSpec]:
    """The deployments of the file. Raises ConfigurationError that names the file, the key and the error."""
    path = path or find_file()
    try:
        return _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).deployments
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        why = format_reason(first["msg"])
        if first["loc"][-1] == "[key]":
            why = "a key is not text: YAML reads a bare yes, no, on or off as true or false; put it in quotes"
        raise ConfigurationError(f"{path}: {place}: {why}") from None


def find_file() -> Path:
    """The file of the working directory, else the one of tilewise: of the clone or of the wheel."""
    here = Path(__file__).parent
    return next(each for each in (Path(FILE), here.parents[1] / FILE, here.parent / FILE) if each.is_file())
