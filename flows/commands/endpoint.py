"""The command `endpoint`: the offline stand-in for the API on a port of the loopback address."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated, Literal

import typer

from extractors.core.errors import ConfigurationError
from flows.console import exit_on_error


def endpoint(
    *,
    port: Annotated[int, typer.Option(help="Port on the loopback address; 0 selects a free port.")] = 8399,
    reader: Annotated[
        Literal["ocr", "echo"], typer.Option(help="ocr: read with local OCR; echo: answer a minimal instance.")
    ] = "ocr",
    bill: Annotated[str, typer.Option(help="Rule by which `usage` bills images.")] = "formula",
    latency: Annotated[float, typer.Option(min=0, help="Minimum seconds per answer.")] = 0.0,
    rpm: Annotated[float | None, typer.Option(help="Refuse requests above this rate per minute.")] = None,
    faults: Annotated[Path | None, typer.Option(help="TOML file of faults to inject, by share and seed.")] = None,
) -> None:
    """Serve an offline stand-in for the API.

    Local OCR, billing by a chosen rule, injected faults.
    """
    with exit_on_error():
        from extractors.core import tiles
        from extractors.endpoint.extra import EndpointError, check_extra

        try:
            tiles.get_rule(bill)
        except ValueError as error:
            raise ConfigurationError(f"--bill {error}") from None
        try:
            check_extra(reader)
            from extractors.endpoint.serve import Options, serve

            options = Options(port=port, reader=reader, bill=bill, latency=latency, rpm=rpm, faults=faults)
            serve(options, lambda url: typer.echo(options.describe(url)))
        except EndpointError as error:
            raise ConfigurationError(str(error)) from None
