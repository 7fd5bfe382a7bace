"""What the command prints: an estimate, a stored plan or the result of a run, as text or as one JSON object."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING

import typer

from extractors.core.errors import RunError, TilewiseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from extractors.config.job import Job
    from extractors.config.settings import Settings
    from extractors.plan.estimate import Estimate
    from extractors.report.progress import Progress
    from extractors.run.hooks import Confirm
    from extractors.run.result import RunResult


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Prints an error of tilewise as one line on stderr; exits with its code: 2, or 3 for a requested stop."""
    try:
        yield
    except TilewiseError as error:
        typer.echo(f"tilewise: {error.message}", err=True)
        raise typer.Exit(error.exit_code if isinstance(error, RunError) else 2) from None
    except KeyboardInterrupt:
        typer.echo(
            "tilewise: stopped immediately; answered calls are stored in the ledger and the next run continues from there",
            err=True,
        )
        raise typer.Exit(3) from None


def load_settings() -> Settings:
    """The settings; each variable that is like one and is none is named on stderr."""
    from extractors.config.settings import find_unknown_settings, read_settings

    for name in find_unknown_settings():
        typer.echo(f"tilewise: unknown setting {name}, ignored", err=True)
    return read_settings()


@contextmanager
def divert_stdout() -> Iterator[None]:
    """Sends to stderr what schemas of the user print while they are loaded and validate: stdout is for the result."""
    with redirect_stdout(sys.stderr):
        yield


def terminal_confirm(progress: Progress | None = None) -> Confirm | None:
    """The question to a person at the terminal, below which the progress is hidden; None where there is no terminal."""
    if not sys.stdin.isatty():
        return None

    async def confirm(reason: str) -> bool:
        with progress.hidden() if progress else nullcontext():
            typer.echo(f"{reason.rpartition(': ')[0]}. Continue? [y/N]: ", nl=False, err=True)
            return (await _read_line()).strip().lower() in {"y", "yes"}

    return confirm


async def _read_line() -> str:
    """Reads a line of stdin without blocking the event loop, in which the lease of the run is renewed."""
    import asyncio

    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, read)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)


def show_estimate(job: Job, settings: Settings, *, as_json: bool, sample: str | None = None) -> int:
    """Estimates the job, if asked from a sample of its images, and prints the estimate, and returns the exit code."""
    from extractors.config.run_config import resolve
    from extractors.plan.sampling import sample_of

    drawn = sample_of(sample)
    with divert_stdout():
        config = resolve(job, settings, sends=False)
    from extractors.plan.estimate import estimate_job

    with divert_stdout():
        estimate = estimate_job(config, drawn, done=job.output is not None or job.dry_run)
    if as_json:
        print_json(estimate.as_json())
    else:
        _print_estimate(estimate, config.model)
    return _exit_code(estimate)


def show_plan(job: Job, settings: Settings, *, as_json: bool) -> int:
    """Plans the job, stores the plan, prints its estimate and its path, and returns the exit code."""
    from extractors.config.run_config import resolve
    from extractors.plan.stored_plan import store_plan

    with divert_stdout():
        config = resolve(job, settings)
        estimate, url = store_plan(config)
    if as_json:
        print_json(estimate.as_json() | {"plan": url})
        return _exit_code(estimate)
    _print_estimate(estimate, config.model)
    reason = "the source was not listed to its end" if _exit_code(estimate) else "no documents to process"
    print_lines([f"plan: {url} (run it with `tilewise apply`)" if url else f"no plan stored: {reason}"])
    return _exit_code(estimate)


def _exit_code(estimate: Estimate) -> int:
    """2 for an estimate of a source that was not listed to its end."""
    return 2 if estimate.listing.incomplete else 0


def _print_estimate(estimate: Estimate, model: str) -> None:
    from extractors.report.estimate_table import EstimateView

    view = EstimateView(
        counts={name: getattr(estimate, name) for name in ("documents", "skipped", "rejected", "images")},
        reasons=estimate.reasons,
        tokens=estimate.tokens,
        costs=estimate.costs,
        bill_rule=estimate.bill_rule,
        model=model,
        seconds=estimate.seconds,
        sent=estimate.sent,
        faithful_tokens=estimate.faithful_tokens,
        saving_usd=estimate.saving_usd,
        rejects=estimate.rejects,
        eta_seconds=estimate.eta_seconds,
        calibrated=estimate.calibrated,
        intervals=estimate.intervals,
        causes=estimate.causes.lines() if estimate.causes else (),
        passed_over=estimate.listing.passed_over,
        tuning=estimate.tuning,
        audit=estimate.audit.words if estimate.audit else "",
    )
    print_lines(view.lines())
    print_lines(f"warning: {warning}" for warning in estimate.warnings)


def show_result(result: RunResult, *, as_json: bool, page_output: str | None = None) -> None:
    """Prints how a run ended; for a run that wrote no page, the command that does.

    `page_output` is where that command looks without `--output`.
    """
    if as_json:
        print_json(result.row)
        return
    from extractors.report.summary import RunView

    view = RunView(
        run=str(result.row["run"]),
        totals=result.counts.totals,
        found=result.counts.found,
        skipped=result.counts.skipped,
        message=result.message,
        bill_rule=result.record.run_info.bill_rule,
        results=list(result.results),
        warnings=result.record.warnings,
        passed_over=result.record.passed_over,
        page_command=_name_page(result, page_output) if page_output else "",
        input_price=price.input if (price := result.record.run_info.price) else None,
        audit=result.record.audit,
    )
    print_lines(view.lines())


def _name_page(result: RunResult, page_output: str) -> str:
    """The command that writes the page of this run; empty for a run that did nothing."""
    import shlex

    run_info, totals = result.record.run_info, result.counts.totals
    if not (totals.done or totals.calls):
        return ""
    option = "" if run_info.output == page_output else f" --output {shlex.quote(run_info.output)}"
    return f"tilewise report {run_info.run}{option}"


def print_lines(lines: Iterable[RenderableType]) -> None:
    """Prints lines and tables on the terminal."""
    from extractors.report.terminal import terminal

    for line in lines:
        terminal().print(line, soft_wrap=True)


def print_json(value: object) -> None:
    """Prints one JSON object on stdout, money as numbers."""
    import orjson

    typer.echo(orjson.dumps(value, default=_encode_money).decode())


def _encode_money(value: object) -> object:
    """Money as a number in JSON."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
