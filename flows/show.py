"""What the command prints: an estimate or a run that has ended, for people or as one JSON object."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from extractors.brief import Brief
    from extractors.closing import Closing
    from extractors.estimate import Estimate
    from extractors.job import Job
    from extractors.record.ledger import Ledger
    from extractors.record.past import Past
    from extractors.sample import Sample
    from extractors.settings import Settings


def show_estimate(job: Job, settings: Settings, *, as_json: bool, sample: str | None = None) -> None:
    """Estimates the job, or by a sample, and prints what comes out."""
    from extractors.brief import brief
    from extractors.sample import sample_of

    drawn = sample_of(sample)
    asked = brief(job, settings, sends=False)
    estimated = _estimated(asked, drawn, done=job.output is not None or job.dry_run)
    if as_json:
        print_json(estimated.as_json())
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
        estimated.calibrated,
        estimated.intervals,
        estimated.causes.lines() if estimated.causes else (),
    )
    terminal().print(bill.table())


def _estimated(asked: Brief, sample: Sample | None, *, done: bool) -> Estimate:
    """The estimate; `done`: without what is done already. The ledger, where there is one, knows prices and answers."""
    from extractors.brief import known
    from extractors.estimate import estimate, price_of
    from extractors.money import FREE

    with opened_ledger(asked.settings) as ledger:
        served = ledger.memory.prices(asked.endpoint) if ledger else {}
        free = asked.reads_locally(served)
        past = _past(asked, offline=free) if done else None
        if asked.job.redo == "reparse":
            return estimate(asked, FREE, past, sample=sample)
        price = price_of(asked, served, free=free)
        if ledger is None:
            return estimate(asked, price, past, sample=sample)
        asked = asked.calibrated(ledger.memory)
        return estimate(asked, price, past, known(ledger.memory, asked.terms(price)), sample)


def _past(asked: Brief, *, offline: bool) -> Past:
    """What is done already under the output."""
    from extractors.record.generation import check_generation
    from extractors.record.root import root_of
    from extractors.record.stored import history

    root = root_of(asked.output)
    check_generation(root, asked.schema)
    past, _ = history(root, asked.terms(None), offline=offline, redo=asked.job.redo, kind=asked.job.kind)
    return past


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """The ledger, where there is one to be read."""
    if not settings.has_ledger:
        yield None
        return
    from extractors.record.ledger import Ledger

    with Ledger(settings.ledger) as ledger:
        yield ledger


def show_closing(closing: Closing, *, as_json: bool) -> None:
    """Prints how a run ended."""
    if as_json:
        print_json(closing.row)
        return
    from extractors.report.summary import Summary

    row, counts = closing.row, closing.counts
    summary = Summary(
        run=str(row["run"]),
        tally=counts.tally,
        found=counts.found,
        skipped=counts.skipped,
        message=closing.message,
        bill_rule=closing.account.terms.bill_rule,
        results=list(closing.results),
        warnings=closing.account.warnings,
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

    typer.echo(orjson.dumps(value, default=_plain).decode())


def _plain(value: object) -> object:
    """Money as a number in JSON."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no place in a run's row")
