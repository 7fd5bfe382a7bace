"""The command `tilewise`. Heavy libraries are imported by the command that needs them, so that `--help` starts fast."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extractors.config.field_help import FIELD_HELP
from extractors.core.errors import ConfigurationError
from flows.commands import schemas
from flows.commands.init import init
from flows.commands.retention import forget, prune
from flows.commands.rows import rows
from flows.commands.trial import try_document
from flows.console import exit_on_error
from flows.flags import BaseUrl, BillRule, Budget, Json, Model, Output, Policy, SchemaName, Source, Yes  # noqa: TC001

if TYPE_CHECKING:
    from extractors.config.job import Job
    from extractors.config.settings import Settings

app = typer.Typer(
    help="Extract validated rows from images with a vision model, and know the cost before anything is sent.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help starts a third faster
    pretty_exceptions_enable=False,  # they print local variables, and a key may be one
)

app.command(name="try")(try_document)
app.command(name="rows")(rows)
app.command(name="init")(init)
app.add_typer(schemas.app, name="schemas")
app.command(name="prune")(prune)
app.command(name="forget")(forget)


@app.command()
def estimate(
    source: Source,
    *,
    schema: SchemaName = "",
    output: Output = None,
    model: Model = None,
    policy: Policy = "balanced",
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
    """Estimate what a run would send and cost, from image headers only. Needs no key and sends nothing."""
    with exit_on_error():
        job = _build_job(source=source, schema_name=schema, output=output, model=model, policy=policy, bill=bill)
        from flows.console import show_estimate

        raise typer.Exit(show_estimate(job, _load_settings(), as_json=as_json, sample=sample))


@app.command()
def run(
    source: Source,
    *,
    schema: SchemaName = "",
    output: Output = None,
    model: Model = None,
    base_url: BaseUrl = None,
    policy: Policy = "balanced",
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
    offline: Annotated[bool, typer.Option("--offline", help=FIELD_HELP["offline"])] = False,
    with_prefect: Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect, even if it is configured.")] = False,
    shard_size: Annotated[int | None, typer.Option(metavar="N", help=FIELD_HELP["shard_size"])] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help=FIELD_HELP["plan_only"])] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=FIELD_HELP["dry_run"])] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Extract validated rows from all images without a result, and write them as Parquet."""
    with exit_on_error():
        if with_prefect and direct:
            raise ConfigurationError("--prefect and --direct exclude each other: use one of them")
        from flows.adapters.prefect_api import is_prefect_configured
        from flows.console import divert_stdout, show_estimate, show_plan, show_result
        from flows.preflight import check_job
        from flows.runner import run as run_job

        if direct and shard_size is not None:
            raise ConfigurationError("--direct and --shard-size exclude each other: shards run on a Prefect work pool")
        settings = _load_settings()
        job = _build_job(
            source=source,
            schema_name=schema,
            output=output,
            model=model,
            base_url=base_url,
            policy=policy,
            bill=bill,
            budget=budget,
            limit=limit,
            redo=redo,
            redo_before=redo_before,
            kind=kind,
            modified_since=modified_since,
            modified_until=modified_until,
            fail_above=fail_above,
            max_time=max_time,
            document_by=document_by,
            include=include or (),
            exclude=exclude or (),
            send_urls=send_urls,
            video_tokens=video_tokens,
            offline=offline,
            shard_size=shard_size,
            plan_only=plan_only,
            dry_run=dry_run,
            yes=yes,
        )
        if dry_run:
            raise typer.Exit(show_estimate(job, settings, as_json=as_json))
        with divert_stdout():
            config = check_job(job, settings)
        if plan_only:
            raise typer.Exit(show_plan(job, settings, as_json=as_json))
        as_flow = (
            with_prefect or shard_size is not None or not (direct or settings.direct or not is_prefect_configured())
        )
        with divert_stdout():
            result = run_job(config, as_flow=as_flow)
        show_result(result, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command()
def apply(
    plan: Annotated[str, typer.Argument(help="Path or URL of a plan that `run --plan-only` stored.")],
    *,
    budget: Budget = None,
    approved_by: Annotated[str | None, typer.Option(metavar="WHO", help="Person who approved the plan.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run a stored plan exactly; documents that changed since then are left out."""
    with exit_on_error():
        from extractors.plan.apply import build_request
        from flows.console import divert_stdout, show_result
        from flows.runner import apply as apply_plan

        request = build_request(plan=plan, budget=budget, approved_by=approved_by, yes=yes)
        with divert_stdout():
            result = apply_plan(request, _load_settings())
        show_result(result, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command()
def calibrate(
    *,
    model: Model = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send four probe images and a text, and store the rule by which the endpoint bills images of the model."""
    with exit_on_error():
        from flows.console import print_json, print_lines
        from flows.runner import calibrate as run_probes

        calibration = run_probes(_load_settings(), model, yes=yes)
        if as_json:
            print_json(calibration.as_json())
        else:
            print_lines(calibration.lines())


@app.command()
def spend(
    *,
    since: Annotated[str | None, typer.Option(help="Only calls on or after this UTC day or time.")] = None,
    until: Annotated[str | None, typer.Option(help="Only calls on or before this UTC day or time.")] = None,
    by: Annotated[
        Literal["day", "model", "schema", "source", "outcome"], typer.Option(help="Group the sums by this.")
    ] = "day",
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Sum the cost of calls: billed, wasted (billed, answer not published) and unknown, from tables and ledger."""
    with exit_on_error():
        from extractors.config.run_config import output as named
        from extractors.config.time_window import parse_bound
        from extractors.plan.estimate import open_ledger
        from extractors.record.output import open_output
        from extractors.report.spend import spend
        from flows.console import print_json

        settings = _load_settings()
        root = open_output(named(output or settings.output))
        first, last = parse_bound("--since", since), parse_bound("--until", until, end=True)
        if first and last and first > last:
            raise ConfigurationError(f"--since {since} is after --until {until}: use an earlier --since")
        with open_ledger(settings) as ledger:
            spending = spend(root, ledger, by, first, last)
        if as_json:
            print_json({"since": first, "until": last, "by": by, "rows": spending.rows, "total": spending.total})
            return
        from extractors.report.progress import terminal
        from extractors.report.summary import spending_table

        terminal().print(spending_table(by, spending.rows, spending.total), crop=False)


@app.command()
def report(
    run: Annotated[str | None, typer.Argument(help="Run id, as in the column `run`. Default: the last run.")] = None,
    *,
    output: Output = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the HTML page of a run, reports/<run>.html: documents, predicted and real cost, failures."""
    with exit_on_error():
        from extractors.config.run_config import output as named
        from extractors.core.buckets import is_bucket_url
        from extractors.record.output import open_output
        from extractors.report.page import write_report

        place = named(output or _load_settings().output)
        if open_it and is_bucket_url(place):
            raise ConfigurationError(f"--open works for local output only: {place} is a bucket; leave out --open")
        path = write_report(open_output(place), run)
        typer.echo(path)
    if open_it:
        typer.launch(path)


@app.command()
def doctor(
    source: Annotated[str | None, typer.Argument(help="Source to check, as for `run`.")] = None,
) -> None:
    """Show every setting with its origin, and check what a run needs. Spends nothing."""
    with exit_on_error():
        from flows.doctor import run_doctor

        lines, passed = run_doctor(_load_settings(), source)
        typer.echo("\n".join(lines))
    raise typer.Exit(0 if passed else 2)


@app.command()
def serve(
    *,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the server and its UI.")] = 4200,
) -> None:
    """Start a local Prefect server, and serve every deployment of prefect.yaml with its schedule and form."""
    with exit_on_error():
        from flows.serving.serve import serve

        _load_settings()
        serve(port)


@app.command()
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
    """Serve an offline stand-in for the API: local OCR, billing by a chosen rule, injected faults."""
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


def main() -> None:
    """The console script."""
    app(prog_name="tilewise")


def _build_job(**fields: object) -> Job:
    from extractors.config.job import build_job

    return build_job(**fields)


def _load_settings() -> Settings:
    from extractors.config.settings import find_unknown_settings, read_settings

    for name in find_unknown_settings():
        typer.echo(f"tilewise: unknown setting {name}, ignored", err=True)
    return read_settings()
