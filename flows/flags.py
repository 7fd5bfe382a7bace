"""The flags that several commands share, with the help of their fields."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from extractors.config.field_help import FIELD_HELP

Source = Annotated[str, typer.Argument(help=FIELD_HELP["source"])]
SchemaName = Annotated[str, typer.Option("--schema", help=FIELD_HELP["schema_name"])]
Output = Annotated[str | None, typer.Option(help=FIELD_HELP["output"])]
Model = Annotated[str | None, typer.Option(help=FIELD_HELP["model"])]
BaseUrl = Annotated[str | None, typer.Option(help=FIELD_HELP["base_url"])]
Policy = Annotated[Literal["balanced", "faithful", "thrifty"] | None, typer.Option(help=FIELD_HELP["policy"])]
ClimbBelow = Annotated[float | None, typer.Option(metavar="P", help=FIELD_HELP["climb_below"])]
BillRule = Annotated[str, typer.Option("--bill", help=FIELD_HELP["bill"])]
Budget = Annotated[str | None, typer.Option(metavar="USD", help=FIELD_HELP["budget"])]
Confidence = Annotated[bool, typer.Option("--confidence", help=FIELD_HELP["confidence"])]
Yes = Annotated[bool, typer.Option("--yes", help=FIELD_HELP["yes"])]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
