"""The command `tilewise`. Heavy libraries are imported by the command that needs them, so that `--help` starts fast."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Literal

import typer

from extractors.config.field_help import FIELD_HELP
from extractors.core.errors import ConfigurationError
from flows.commands import schemas
from flows.commands.endpoint import endpoint
from flows.commands.init import init
from flows.commands.retention import forget, prune
from flows.commands.rows import rows
from flows.commands.spend import spend
from flows.commands.trial import try_document
from flows.commands.tune import tune
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
    Source,
    Witness,
    Yes,
    collect_job,
)
from flows.help import HelpGroup

START_OBJECTS = 50_000  # created before the collector looks for cycles; 700 would be a tenth of the start of a run

app = typer.Typer(
    cls=HelpGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts a third faster
    pretty_exceptions_enable=False,  # they print local variables, and a key may be one
)

# A command of a module of its own is registered here; `flows.help` gives it a group and an example.
app.command(name="endpoint")(endpoint)
app.command(name="init")(init)
app.command(name="rows")(rows)
app.command(name="spend")(spend)
app.command(name="prune")(prune)
app.command(name="forget")(forget)
app.command(name="try")(try_document)
app.command(name="tune")(tune)
app.add_typer(schemas.app, name="schemas")


def _print_version(value: bool) -> None:  # noqa: FBT001 - as typer calls it
    if value:
        from importlib.metadata import version

        typer.echo(f"tilewise {version('tilewise')}")
        raise typer.Exit


@app.callback()
def tilewise(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Extract validated rows from images with a vision model, and know the cost before anything is sent."""


@app.command()
def estimate(
    source: Source,
    *,
    schema: SchemaName = "",
    output: Output = None,
    model: Model = None,
    policy: Policy = None,
    bill: BillRule = "auto",
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="Number of images to sample, or `all`. Default: 2000 when a remote source has more than 20,000.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate what a run would send and cost.

    Reads image headers only, needs no key and sends nothing.
    """
    with exit_on_error():
        job = collect_job(locals())
        from flows.console import show_estimate
        from flows.preflight import check_local_source

        check_local_source(job)
        raise typer.Exit(show_estimate(job, load_settings(), as_json=as_json, sample=sample))


@app.command()
def run(
    source: Source,
    *,
    schema: SchemaName = "",
    output: Output = None,
    model: Model = None,
    base_url: BaseUrl = None,
    policy: Policy = None,
    climb_below: ClimbBelow = None,
    bill: BillRule = "auto",
    budget: Budget = None,
    limit: Annotated[int | None, typer.Option(help=FIELD_HELP["limit"])] = None,
    redo: Annotated[
        Literal["failed", "changed", "reparse", "all"] | None, typer.Option(help=FIELD_HELP["redo"])
    ] = None,
    redo_before: Annotated[str | None, typer.Option(metavar="T", help=FIELD_HELP["redo_before"])] = None,
    kind: Annotated[str | None, typer.Option(help=FIELD_HELP["kind"])] = None,
    modified_since: Annotated[str | None, typer.Option(metavar="T", help=FIELD_HELP["modified_since"])] = None,
    modified_until: Annotated[str | None, typer.Option(metavar="T", help=FIELD_HELP["modified_until"])] = None,
    fail_above: Annotated[float, typer.Option(help=FIELD_HELP["fail_above"])] = 0.0,
    max_time: Annotated[str | None, typer.Option(help=FIELD_HELP["max_time"])] = None,
    document_by: Annotated[
        Literal["folder", "name", "frames", "page"] | None, typer.Option(help=FIELD_HELP["document_by"])
    ] = None,
    include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help=FIELD_HELP["include"])] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help=FIELD_HELP["exclude"])] = None,
    send_urls: Annotated[bool, typer.Option("--send-urls", help=FIELD_HELP["send_urls"])] = False,
    video_tokens: Annotated[int | None, typer.Option(metavar="N", help=FIELD_HELP["video_tokens"])] = None,
    confidence: Confidence = False,
    witness: Witness = None,
    audit: Annotated[int | None, typer.Option(metavar="N", help=FIELD_HELP["audit"])] = None,
    offline: Annotated[bool, typer.Option("--offline", help=FIELD_HELP["offline"])] = False,
    with_prefect: Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect, even if it is configured.")] = False,
    shard_size: Annotated[int | None, typer.Option(metavar="N", help=FIELD_HELP["shard_size"])] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help=FIELD_HELP["plan_only"])] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=FIELD_HELP["dry_run"])] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Read the images that have no result yet; write rows as Parquet."""
    with exit_on_error():
        if with_prefect and direct:
            raise ConfigurationError("--prefect and --direct exclude each other: use one of them")
        from flows.adapters.prefect_api import check_reachable, find_prefect_url, is_prefect_configured
        from flows.console import divert_stdout, show_estimate, show_plan, show_result
        from flows.preflight import check_job

        if direct and shard_size is not None:
            raise ConfigurationError("--direct and --shard-size exclude each other: shards run on a Prefect work pool")
        settings = load_settings()
        job = collect_job(locals())
        if dry_run:
            raise typer.Exit(show_estimate(job, settings, as_json=as_json))
        as_flow = (
            with_prefect or shard_size is not None or not (direct or settings.direct or not is_prefect_configured())
        )
        if as_flow and not plan_only and (url := find_prefect_url()):
            check_reachable(url, ", or use --direct")
        with divert_stdout():
            config = check_job(job, settings)
        if plan_only:
            raise typer.Exit(show_plan(job, settings, as_json=as_json))
        from flows.runner import run as run_job

        with divert_stdout():
            result = run_job(config, as_flow=as_flow)
        from extractors.config.output_name import name_output

        show_result(result, as_json=as_json, page_output=None if as_flow else name_output(settings.output))
    raise typer.Exit(result.exit_code)


@app.command()
def apply(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Path or URL of a plan that `run --plan-only` stored.")],
    *,
    budget: Budget = None,
    approved_by: Annotated[str | None, typer.Option(metavar="WHO", help="Person who approved the plan.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run a stored plan exactly.

    Documents that changed since then are left out.
    """
    with exit_on_error():
        from extractors.plan.apply_request import build_request
        from extractors.plan.plan_url import check_plan_url
        from flows.console import divert_stdout, show_result

        request, settings = build_request(plan=plan, budget=budget, approved_by=approved_by, yes=yes), load_settings()
        check_plan_url(request.url)
        from flows.runner import apply as apply_plan

        with divert_stdout():
            result = apply_plan(request, settings)
        show_result(result, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command()
def calibrate(
    *,
    model: Model = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Measure by which rule the endpoint bills images of the model.

    Sends four probe images and a text, and stores the rule.
    """
    with exit_on_error():
        from extractors.config.run_config import resolve_probes
        from flows.console import print_json, print_lines

        settings = load_settings()
        resolve_probes(settings, model)  # before what takes long to import
        from flows.runner import calibrate as run_probes

        calibration = run_probes(settings, model, yes=yes)
        if as_json:
            print_json(calibration.as_json())
        else:
            print_lines(calibration.lines())


@app.command()
def report(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Run id, as in the column `run`. Default: the last one with documents."),
    ] = None,
    *,
    output: Output = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the page of a run: pictures, fields, cost, failures.

    The page is reports/<run>.html, one file that loads nothing, in which results can be reviewed and corrected.
    """
    with exit_on_error():
        from extractors.config.output_name import name_output
        from extractors.core.buckets import is_bucket_url
        from extractors.report.lookup import check_run

        settings = load_settings()
        place = name_output(output or settings.output)
        if open_it and is_bucket_url(place):
            raise ConfigurationError(f"--open works for local output only: {place} is a bucket; leave out --open")
        check_run(place, run)
        from extractors.record.output import open_output
        from extractors.report.page import write_report
        from extractors.report.page.pictures import PictureReader

        path = write_report(open_output(place), run, PictureReader(settings.allow_hosts, settings.pdf_passwords))
        typer.echo(path)
    if open_it:
        typer.launch(path)


@app.command()
def doctor(
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help="Source to check, as for `run`.")] = None,
) -> None:
    """Check what a run needs, and show every setting with its origin.

    Spends nothing.
    """
    with exit_on_error():
        from flows.doctor import run_doctor

        lines, passed = run_doctor(load_settings(), source)
        typer.echo("\n".join(lines))
    raise typer.Exit(0 if passed else 2)


@app.command()
def serve(
    *,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the server and its UI.")] = 4200,
) -> None:
    """Start a local Prefect server with every deployment.

    Serves the deployments of prefect.yaml with their schedules and forms.
    """
    with exit_on_error():
        from flows.adapters.prefect_api import check_reachable, find_other_server

        load_settings()
        if url := find_other_server(port):
            check_reachable(url)
        from flows.serving.serve import serve

        serve(port)


def _keep_named_command(names: list[str]) -> None:
    """Leaves out all commands but the named one: typer would build every flag of every command."""
    if named := [
        each for each in app.registered_commands if (each.name or getattr(each.callback, "__name__", "")) in names
    ]:
        app.registered_commands, app.registered_groups = named, []


def main() -> None:
    """The console script. What start-up creates stays, so the search of it for cycles is left out, also at exit."""
    gc.set_threshold(START_OBJECTS)
    if sys.argv[1:2] != ["serve"]:  # whose flow runs inherit the environment
        # The search for plugins reads the metadata of every installed package.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    if sys.argv[1:2] in (["run"], ["apply"]):
        from flows.start_up import release_freed_memory

        release_freed_memory()
    _keep_named_command(sys.argv[1:2])
    try:
        app(prog_name="tilewise")
    finally:
        gc.freeze()
