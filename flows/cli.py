"""The command `tilewise`. Whatever is heavy is imported by the command that needs it: `--help` needs none of it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extractors.core.errors import ConfigurationError, RunError, TilewiseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.config.job import Job
    from extractors.config.settings import Settings

app = typer.Typer(
    help="Images in, validated rows in Parquet out, with the bill known before anything is sent.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help starts a third faster
    pretty_exceptions_enable=False,  # they print local variables, and a key may be one
)

Source = Annotated[
    str, typer.Argument(help="A folder or a bucket of images (s3://, gs://, az://), one image, or a manifest.")
]
SchemaName = Annotated[
    str, typer.Option("--schema", help="A name that `tilewise schemas` lists, or package.module:Model.")
]
Output = Annotated[
    str | None, typer.Option(help="The folder or bucket (s3://, gs://, az://) that the tables are written under.")
]
Model = Annotated[str | None, typer.Option(help="The model's id, as the endpoint lists it.")]
BaseUrl = Annotated[str | None, typer.Option(help="The API's address, up to and with /v1.")]
Policy = Annotated[
    Literal["balanced", "faithful", "thrifty"],
    typer.Option(
        help="faithful keeps every pixel that is seen, balanced starts cheap and climbs, thrifty cheaper still."
    ),
]
BillRule = Annotated[str, typer.Option("--bill", help="How the server bills an image, for example formula or table.")]
DocumentBy = Annotated[
    Literal["folder", "name", "frames"] | None,
    typer.Option(
        help="Make one document of several pages: of a folder's images, of a-1.jpg and a-2.jpg, or of a TIFF's frames."
        " The pages of a PDF always belong together."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


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
        typer.Option(metavar="N|all", help="Look at so many images, or all; default: 2000 of over 20,000 elsewhere."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run would send and cost, from image headers alone. Needs no key and sends nothing."""
    with _exit_on_error():
        build_job = _build_job(source=source, schema_name=schema, output=output, model=model, policy=policy, bill=bill)
        from flows.console import show_estimate

        show_estimate(build_job, _load_settings(), as_json=as_json, sample=sample)


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
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Spend at most so many dollars.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take at most so many documents.")] = None,
    redo: Annotated[
        Literal["failed", "changed", "reparse", "all"] | None,
        typer.Option(help="Read again what is done already, by cause."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="With --redo failed: only failures of this kind.")] = None,
    modified_since: Annotated[
        str | None, typer.Option(metavar="T", help="Only images modified from this UTC day or time on.")
    ] = None,
    modified_until: Annotated[
        str | None, typer.Option(metavar="T", help="Only images modified up to this UTC day or time, included.")
    ] = None,
    fail_above: Annotated[float, typer.Option(help="The share of failures above which the exit code is 1.")] = 0.0,
    max_time: Annotated[str | None, typer.Option(help="Take no new documents after this long: 90s, 30m, 6h.")] = None,
    document_by: DocumentBy = None,
    send_urls: Annotated[
        bool, typer.Option("--send-urls", help="Pass images at http(s) URLs on instead of fetching them.")
    ] = False,
    video_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="The most tokens that one video is expected to be billed.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Read with local OCR instead of the API.")] = False,
    with_prefect: Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect even where it is configured.")] = False,
    shard_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Spread the work over Prefect's work pool, so many documents a flow run."),
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Store the plan and what it would cost; `apply` runs it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate only; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Go on whatever the estimate says.")] = False,
    as_json: Json = False,
) -> None:
    """Read every image that is not done yet and write the rows as Parquet."""
    with _exit_on_error():
        if with_prefect and direct:
            raise ConfigurationError("--prefect and --direct exclude each other: choose one")
        from flows.adapters.prefect_api import is_prefect_configured
        from flows.console import show_estimate, show_plan, show_result
        from flows.preflight import check_job
        from flows.runner import run_with_confirmation

        if direct and shard_size is not None:
            raise ConfigurationError("--direct and --shard-size exclude each other: shards are runs on a work pool")
        settings = _load_settings()
        build_job = _build_job(
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
            kind=kind,
            modified_since=modified_since,
            modified_until=modified_until,
            fail_above=fail_above,
            max_time=max_time,
            document_by=document_by,
            send_urls=send_urls,
            video_tokens=video_tokens,
            offline=offline,
            shard_size=shard_size,
            plan_only=plan_only or None,
            dry_run=dry_run,
            yes=yes,
        )
        if dry_run:
            show_estimate(build_job, settings, as_json=as_json)
            return
        check_job(build_job, settings)
        if plan_only:
            show_plan(build_job, settings, as_json=as_json)
            return
        as_flow = (
            with_prefect or shard_size is not None or not (direct or settings.direct or not is_prefect_configured())
        )
        closing = run_with_confirmation(build_job, settings, as_flow=as_flow)
        show_result(closing, as_json=as_json)
    raise typer.Exit(closing.exit_code)


@app.command()
def apply(
    plan: Annotated[str, typer.Argument(help="A plan that `run --plan-only` has stored: its path or URL.")],
    *,
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Spend at most so many dollars.")] = None,
    approved_by: Annotated[str | None, typer.Option(metavar="WHO", help="Who has approved the plan.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Go on whatever the plan may cost.")] = False,
    as_json: Json = False,
) -> None:
    """Run exactly what a stored plan says; what has changed since is left out."""
    with _exit_on_error():
        from extractors.plan.apply import order
        from flows.console import show_result
        from flows.runner import apply_with_confirmation

        closing = apply_with_confirmation(
            order(plan=plan, budget=budget, approved_by=approved_by, yes=yes), _load_settings()
        )
        show_result(closing, as_json=as_json)
    raise typer.Exit(closing.exit_code)


@app.command()
def calibrate(
    *,
    model: Model = None,
    yes: Annotated[bool, typer.Option("--yes", help="Go on whatever it may cost.")] = False,
    as_json: Json = False,
) -> None:
    """Send four probe images and a text, and remember by which rule the endpoint bills this model's images."""
    with _exit_on_error():
        from flows.console import print_json, print_lines
        from flows.runner import calibrate_with_confirmation

        found = calibrate_with_confirmation(_load_settings(), model, yes=yes)
        if as_json:
            print_json(found.as_json())
        else:
            print_lines(found.lines())


@app.command()
def spend(
    *,
    since: Annotated[str | None, typer.Option(help="From this UTC day or time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this UTC day or time, included.")] = None,
    by: Annotated[
        Literal["day", "model", "schema", "source", "outcome"], typer.Option(help="What the sums are grouped by.")
    ] = "day",
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Say what calls have cost: billed, of it wasted, and unknown, from the tables and the ledger."""
    with _exit_on_error():
        from extractors.config.run_config import output as named
        from extractors.config.time_window import parse_bound
        from extractors.plan.estimate import opened_ledger
        from extractors.record.output.base import open_output
        from extractors.report.spend import spend
        from flows.console import print_json

        settings = _load_settings()
        root = open_output(named(output or settings.output))
        first, last = parse_bound("--since", since), parse_bound("--until", until, end=True)
        if first and last and first > last:
            raise ConfigurationError(f"--since {since} is after --until {until}: nothing lies between them")
        with opened_ledger(settings) as ledger:
            spending = spend(root, ledger, by, first, last)
        if as_json:
            print_json({"since": first, "until": last, "by": by, "rows": spending.rows, "total": spending.total})
            return
        from extractors.report.progress import terminal
        from extractors.report.summary import spending_table

        terminal().print(spending_table(by, spending.rows, spending.total), crop=False)


@app.command()
def report(
    run: Annotated[str | None, typer.Argument(help="A run, as in the column `run`; default: the last one.")] = None,
    *,
    output: Output = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write the page of a run, reports/<run>.html: what was read, what it cost against what was said, what failed."""
    with _exit_on_error():
        from extractors.config.run_config import output as named
        from extractors.core.buckets import is_bucket_url
        from extractors.record.output.base import open_output
        from extractors.report.page import write_report

        place = named(output or _load_settings().output)
        if open_it and is_bucket_url(place):
            raise ConfigurationError(
                f"--open needs a page on this machine: what lies in {place} is opened where that is"
            )
        path = write_report(open_output(place), run)
        typer.echo(path)
    if open_it:
        typer.launch(path)


@app.command()
def doctor(
    source: Annotated[str | None, typer.Argument(help="A source to try, as `run` takes it.")] = None,
) -> None:
    """Show every setting and where it came from, and say what works of all that a run needs. Spends nothing."""
    with _exit_on_error():
        from flows.doctor import run_doctor

        told, works = run_doctor(_load_settings(), source)
        typer.echo("\n".join(told))
    raise typer.Exit(0 if works else 2)


@app.command()
def serve(
    *,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port of the server and its UI.")] = 4200,
) -> None:
    """Start a local Prefect server and serve every deployment of prefect.yaml: schedules, forms, and what runs show."""
    with _exit_on_error():
        from flows.serving.serve import serve

        _load_settings()
        serve(port)


@app.command()
def schemas() -> None:
    """List the documents that can be read, with their fields."""
    from rich.console import Console
    from rich.table import Table

    from extractors.core.schema import load, shipped

    table = Table("schema", "what it is", "fields")
    for name in shipped():
        model = load(name).model
        first_line = (model.__doc__ or "").strip().partition("\n")[0]
        table.add_row(name, first_line, " ".join(model.model_fields))
    Console().print(table)


@app.command()
def endpoint(
    *,
    port: Annotated[int, typer.Option(help="The port on the loopback address; 0 takes a free one.")] = 8399,
    reader: Annotated[Literal["ocr", "echo"], typer.Option(help="ocr reads; echo answers a minimal instance.")] = "ocr",
    bill: Annotated[str, typer.Option(help="The rule that `usage` follows.")] = "formula",
    latency: Annotated[float, typer.Option(min=0, help="Seconds that every answer takes at least.")] = 0.0,
    rpm: Annotated[
        float | None, typer.Option(help="Refuse what comes faster than this many requests a minute.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="A TOML file of faults to make, by share and seed.")] = None,
) -> None:
    """Answer like the API, offline: read images with local OCR and bill them by a rule of choice; or rehearse its faults."""
    with _exit_on_error():
        from extractors.core import tiles
        from extractors.endpoint.extra import EndpointError, check_extra

        try:
            tiles.rule(bill)
        except ValueError as error:
            raise ConfigurationError(f"--bill {error}") from None
        try:
            check_extra(reader)
            from extractors.endpoint.serve import Options, serve

            options = Options(port=port, reader=reader, bill=bill, latency=latency, rpm=rpm, faults=faults)
            serve(options, lambda url: typer.echo(options.sentence(url)))
        except EndpointError as error:
            raise ConfigurationError(str(error)) from None


def main() -> None:
    """The console script."""
    app(prog_name="tilewise")


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """What is raised on purpose is one line on stderr and exit code 2, or 3 where it stopped as told."""
    try:
        yield
    except TilewiseError as error:
        typer.echo(f"tilewise: {error.message}", err=True)
        raise typer.Exit(error.exit_code if isinstance(error, RunError) else 2) from None
    except KeyboardInterrupt:
        typer.echo(
            "tilewise: stopped at once; what was answered is in the ledger, and the next run goes on from there",
            err=True,
        )
        raise typer.Exit(3) from None


def _build_job(**fields: object) -> Job:
    from extractors.config.job import build_job

    return build_job(**fields)


def _load_settings() -> Settings:
    from extractors.config.settings import find_unknown_settings, read_settings

    for name in find_unknown_settings():
        typer.echo(f"tilewise: {name} is no setting and is ignored", err=True)
    return read_settings()
