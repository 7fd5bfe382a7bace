"""The command `tilewise`. Whatever is heavy is imported by the command that needs it: `--help` needs none of it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extractors.errors import ConfigurationError, NeedsYes, TilewiseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.brief import Brief
    from extractors.closing import Closing
    from extractors.estimate import Estimate
    from extractors.job import Job
    from extractors.settings import Settings

app = typer.Typer(
    help="Folders of images in, validated rows in Parquet out, with the bill known before anything is sent.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help starts a third faster
    pretty_exceptions_enable=False,  # they print local variables, and a key may be one
)

Source = Annotated[str, typer.Argument(help="A folder of images, or one image.")]
SchemaName = Annotated[
    str, typer.Option("--schema", help="A name that `tilewise schemas` lists, or package.module:Model.")
]
Output = Annotated[str | None, typer.Option(help="The folder that the tables are written under.")]
Model = Annotated[str | None, typer.Option(help="The model's id, as the endpoint lists it.")]
BaseUrl = Annotated[str | None, typer.Option(help="The API's address, up to and with /v1.")]
Policy = Annotated[
    Literal["balanced", "faithful", "thrifty"],
    typer.Option(
        help="faithful keeps every pixel that is seen, balanced starts cheap and climbs, thrifty cheaper still."
    ),
]
BillRule = Annotated[str, typer.Option("--bill", help="How the server bills an image, for example formula or table.")]
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
    as_json: Json = False,
) -> None:
    """Say what a run would send and cost, from image headers alone. Needs no key and sends nothing."""
    with _reported():
        job = _job(source=source, schema_name=schema, output=output, model=model, policy=policy, bill=bill)
        _show_estimate(job, _settings(), as_json=as_json)


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
    budget: Annotated[float | None, typer.Option(help="Spend at most so many dollars.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take at most so many documents.")] = None,
    redo: Annotated[
        Literal["failed", "changed", "all"] | None, typer.Option(help="Read again what is done already, by cause.")
    ] = None,
    fail_above: Annotated[float, typer.Option(help="The share of failures above which the exit code is 1.")] = 0.0,
    max_time: Annotated[str | None, typer.Option(help="Take no new documents after this long: 90s, 30m, 6h.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Read with local OCR instead of the API.")] = False,
    with_prefect: Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect even where it is configured.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate only; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Go on whatever the estimate says.")] = False,
    as_json: Json = False,
) -> None:
    """Read every image that is not done yet and write the rows as Parquet."""
    with _reported():
        if with_prefect and direct:
            raise ConfigurationError("--prefect and --direct exclude each other: choose one")
        settings = _settings()
        job = _job(
            source=source,
            schema_name=schema,
            output=output,
            model=model,
            base_url=base_url,
            policy=policy,
            bill=bill,
            budget=None if budget is None else str(budget),
            limit=limit,
            redo=redo,
            fail_above=fail_above,
            max_time=max_time,
            offline=offline,
            dry_run=dry_run,
            yes=yes,
        )
        if dry_run:
            _show_estimate(job, settings, as_json=as_json)
            return
        _check(job, settings)
        as_flow = with_prefect or not (direct or settings.direct or not _prefect_configured())
        closing = _consented(job, settings, as_flow=as_flow)
        _show_closing(closing, as_json=as_json)
    raise typer.Exit(closing.exit_code)


@app.command()
def schemas() -> None:
    """List the documents that can be read, with their fields."""
    from rich.console import Console
    from rich.table import Table

    from extractors.schema import load, shipped

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
    with _reported():
        from extractors import tiles
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
def _reported() -> Iterator[None]:
    """What is raised on purpose is one line on stderr and exit code 2."""
    try:
        yield
    except TilewiseError as error:
        typer.echo(f"tilewise: {error.message}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("tilewise: stopped before anything was sent", err=True)
        raise typer.Exit(3) from None


def _job(**fields: object) -> Job:
    from extractors.job import job

    return job(**fields)


def _settings() -> Settings:
    from extractors.settings import read_settings, unknown_settings

    for name in unknown_settings():
        typer.echo(f"tilewise: {name} is no setting and is ignored", err=True)
    return read_settings()


def _show_estimate(job: Job, settings: Settings, *, as_json: bool) -> None:
    from extractors.brief import brief

    asked = brief(job, settings, sends=False)
    estimated = _estimated(asked, done=job.output is not None or job.dry_run)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(estimated.as_json()).decode())
        return
    from extractors.report.progress import terminal
    from extractors.report.summary import Bill

    counts = {name: getattr(estimated, name) for name in ("images", "documents", "skipped", "rejected")}
    costs, seconds = estimated.costs, estimated.seconds
    bill = Bill(
        counts,
        estimated.tokens,
        estimated.reasons,
        costs,
        estimated.bill_rule,
        asked.model,
        seconds,
        estimated.eta_seconds,
    )
    terminal().print(bill.table())


def _estimated(asked: Brief, *, done: bool) -> Estimate:
    """The estimate; `done`: without what is done already. The ledger, where there is one, knows prices and answers."""
    from extractors.estimate import estimate, price_of

    past = None
    if done:
        from extractors.record.past import read_past

        past = read_past(asked.output, asked.terms(None), offline=asked.offline)
    if not asked.settings.has_ledger:
        return estimate(asked, price_of(asked, {}, free=asked.offline), past)
    from extractors.record.ledger import Ledger

    with Ledger(asked.settings.ledger) as ledger:
        price = price_of(asked, ledger.memory.prices(asked.endpoint), free=asked.offline)
        return estimate(asked, price, past, ledger.memory.means(asked.terms(price)))


def _check(job: Job, settings: Settings) -> None:
    """Says what is wrong before anything is started for the run."""
    from extractors.brief import brief
    from extractors.scan import scan

    brief(job, settings)
    scan(job.source)


def _consented(job: Job, settings: Settings, *, as_flow: bool) -> Closing:
    """Runs the job; asks on a terminal when the estimate needs a yes."""
    try:
        return _ran(job, settings, as_flow=as_flow)
    except NeedsYes as error:
        if not sys.stdin.isatty():
            raise
        question = error.message.partition(":")[0]
        if not typer.confirm(f"{question}. Go on?", err=True):
            raise ConfigurationError(f"not started: {error.message}") from None
        return _ran(job.model_copy(update={"yes": True}), settings, as_flow=as_flow)


def _ran(job: Job, settings: Settings, *, as_flow: bool) -> Closing:
    import asyncio

    if as_flow:
        return _ran_as_flow(job)
    from extractors import pipeline
    from extractors.report.progress import Progress

    with Progress() as progress:
        how = pipeline.How(tell=progress.tell, expect=progress.expect, say=progress.say)
        closing = asyncio.run(pipeline.run(job, settings, how))
    typer.echo("tilewise: ran directly; --prefect runs it as a flow", err=True)
    return closing


def _ran_as_flow(job: Job) -> Closing:
    """The same pipeline inside a flow run, on the configured Prefect server or on a temporary one."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if _prefect_configured():
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        return _flow_run(job)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # what a run has to say, it says itself
    from flows.server import temporary_server

    with temporary_server() as url:
        os.environ["PREFECT_API_URL"] = url
        os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"  # nobody reads its logs, and it ends before the last
        return _flow_run(job)


def _flow_run(job: Job) -> Closing:
    import asyncio

    from extractors.closing import Closing
    from flows.extract import extract

    async def ended() -> object:
        state = await extract(job, return_state=True)
        return await state.aresult(raise_on_failure=False)

    end = asyncio.run(ended())
    if isinstance(end, Closing):
        return end
    raise end if isinstance(end, TilewiseError) else TilewiseError(f"the flow run ended early: {end}")


def _show_closing(closing: Closing, *, as_json: bool) -> None:
    if as_json:
        import orjson

        typer.echo(orjson.dumps(closing.row, default=_plain).decode())
        return
    from extractors.report.progress import terminal
    from extractors.report.summary import Summary

    row, counts = closing.row, closing.counts
    summary = Summary(
        run=str(row["run"]),
        tally=counts.tally,
        found=counts.found,
        skipped=counts.skipped,
        message=closing.message,
        results=[str(path) for path in closing.results],
        warnings=closing.account.warnings,
    )
    for line in summary.lines():
        terminal().print(line, soft_wrap=True)


def _plain(value: object) -> object:
    """Money as a number in JSON."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no place in a run's row")


def _prefect_configured() -> bool:
    """Whether a Prefect API is set in the environment or in the active profile, read without importing Prefect."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    import tomllib

    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return False
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    return "PREFECT_API_URL" in profiles.get("profiles", {}).get(active, {})
