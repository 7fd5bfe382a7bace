"""The flags that several commands share, with the help of their fields, and the job that the flags of a command make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extractors.config.field_help import FIELD_HELP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extractors.config.job import Job

_FIELDS = {"schema": "schema_name", "image": "source"}  # parameters that are not named like their field

Source = Annotated[str, typer.Argument(metavar="SOURCE", help=FIELD_HELP["source"])]
SchemaName = Annotated[str, typer.Option("--schema", help=FIELD_HELP["schema_name"])]
Output = Annotated[str | None, typer.Option(help=FIELD_HELP["output"])]
Model = Annotated[str | None, typer.Option(help=FIELD_HELP["model"])]
BaseUrl = Annotated[str | None, typer.Option(help=FIELD_HELP["base_url"])]
Policy = Annotated[Literal["balanced", "faithful", "thrifty"] | None, typer.Option(help=FIELD_HELP["policy"])]
ClimbBelow = Annotated[float | None, typer.Option(metavar="P", help=FIELD_HELP["climb_below"])]
BillRule = Annotated[str, typer.Option("--bill", help=FIELD_HELP["bill"])]
Budget = Annotated[str | None, typer.Option(metavar="USD", help=FIELD_HELP["budget"])]
Confidence = Annotated[bool, typer.Option("--confidence", help=FIELD_HELP["confidence"])]
Witness = Annotated[Literal["doubtful", "all"] | None, typer.Option(help=FIELD_HELP["witness"])]
Yes = Annotated[bool, typer.Option("--yes", help=FIELD_HELP["yes"])]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


def collect_job(parameters: Mapping[str, object]) -> Job:
    """The job of a command's parameters, as `locals()` gives them; those that are no field of a job are left out.

    Raises ConfigurationError that names each wrong flag, its value and what is allowed.
    """
    from extractors.config.job import Job, build_job  # noqa: PLC0415 - pydantic, which help need not wait for

    fields = {_FIELDS.get(name, name): value for name, value in parameters.items() if value is not None}
    return build_job(**{name: value for name, value in fields.items() if name in Job.model_fields})
