"""What the command prints: an estimate or a run that has ended, for people or as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from extractors.config.job import Job
    from extractors.config.settings import Settings
    from extractors.plan.estimate import Estimate
    from extractors.run.result import RunResult


def show_estimate(job: Job, settings: Settings, *, as_json: bool, sample: str | None = None) -> None:
    """Estimates the job, or by a sample, and prints what comes out."""
    from extractors.config.run_config import resolve
    from extractors.plan.estimate import estimate_job
    from extractors.plan.sampling import sample_of

    drawn = sample_of(sample)
    config = resolve(job, settings, sends=False)
    found = estimate_job(config, drawn, done=job.output is not None or job.dry_run)
    if as_json:
        print_json(found.as_json())
        return
    _print_estimate(found, config.model)


def show_plan(job: Job, settings: Settings, *, as_json: bool) -> None:
    """Plans the job, stores the plan, and prints what it would cost and where it is."""
    from extractors.config.run_config import resolve
    from extractors.plan.stored_plan import store_plan

    config = resolve(job, settings)
    estimated, url = store_plan(config)
    if as_json:
        print_json(estimated.as_json() | {"plan": url})
        return
    _print_estimate(estimated, config.model)
    print_lines([f"plan: {url}: `tilewise apply` runs it" if url else "nothing to do: no plan is stored"])


def _print_estimate(found: Estimate, model: str) -> None:
    from extractors.report.progress import terminal
    from extractors.report.summary import EstimateView

    counts = {name: getattr(found, name) for name in ("images", "documents", "skipped", "rejected")}
    costs, seconds = found.costs, found.seconds
    bill = EstimateView(
        counts,
        found.tokens,
        found.reasons,
        costs,
        found.bill_rule,
        model,
        seconds,
        found.eta_seconds,
        found.calibrated,
        found.intervals,
        found.causes.lines() if found.causes else (),
    )
    terminal().print(bill.table())


def show_result(result: RunResult, *, as_json: bool) -> None:
    """Prints how a run ended."""
    if as_json:
        print_json(result.row)
        return
    from extractors.report.summary import RunView

    row, counts = result.row, result.counts
    summary = RunView(
        run=str(row["run"]),
        totals=counts.totals,
        found=counts.found,
        skipped=counts.skipped,
        message=result.message,
        bill_rule=result.record.run_info.bill_rule,
        results=list(result.results),
        warnings=result.record.warnings,
    )
    print_lines(summary.lines())


def print_lines(lines: Iterable[RenderableType]) -> None:
    """Prints lines and tables on the terminal."""
    from extractors.report.progress import terminal

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
    raise TypeError(f"{type(value).__name__} has no place in a run's row")
