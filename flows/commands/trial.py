"""The command `try`: one document, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extractors.config.field_help import FIELD_HELP
from flows.console import exit_on_error, load_settings
from flows.flags import (
    BaseUrl,
    BillRule,
    Budget,
    ClimbBelow,
    Confidence,
    Json,
    Model,
    Output,
    Policy,
    SchemaName,
    Witness,
    Yes,
    collect_job,
)

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.run.trial import TrialResult


def try_document(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="One image, as `run` takes it: a file or a URL.")],
    *,
    schema: SchemaName = "",
    output: Output = None,
    model: Model = None,
    base_url: BaseUrl = None,
    policy: Policy = None,
    climb_below: ClimbBelow = None,
    bill: BillRule = "auto",
    budget: Budget = None,
    document_by: Annotated[
        Literal["folder", "name", "frames", "page"] | None, typer.Option(help=FIELD_HELP["document_by"])
    ] = None,
    send_urls: Annotated[bool, typer.Option("--send-urls", help=FIELD_HELP["send_urls"])] = False,
    confidence: Confidence = False,
    witness: Witness = None,
    offline: Annotated[bool, typer.Option("--offline", help=FIELD_HELP["offline"])] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Read one document and show every step, with its cost.

    Shows plan, prompt, answers, errors, tokens and cost.
    """
    with exit_on_error():
        from extractors.config.run_config import resolve
        from flows.console import divert_stdout, print_json, print_lines
        from flows.preflight import check_local_source

        job = collect_job(locals())
        check_local_source(job)
        with divert_stdout():
            result = _run(resolve(job, load_settings()))
        from extractors.report.trial import TrialView

        error = result.record.error.message if result.record.error else None
        view = TrialView(result.record.run_info, result.config.schema, result.document, result.row, error)
        if as_json:
            print_json(view.as_json())
        else:
            print_lines([*view.lines(), *(f"warning: {warning}" for warning in result.record.warnings)])
    raise typer.Exit(result.exit_code)


def _run(config: RunConfig) -> TrialResult:
    """Runs the trial; asks on a terminal to confirm its cost if needed."""
    import asyncio

    from extractors.scan import scan_documents

    scan_documents(config.job.source, config.job.document_by, config.job.selection)  # before what takes long to import
    from extractors.run.hooks import RunHooks
    from extractors.run.trial import run_trial
    from flows.console import terminal_confirm

    hooks = RunHooks(notify=lambda text: typer.echo(f"tilewise: {text}", err=True), confirm=terminal_confirm())
    return asyncio.run(run_trial(config, hooks))
