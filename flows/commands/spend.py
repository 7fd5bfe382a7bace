"""The command `spend`: what calls cost, summed by day, model, schema, source or outcome."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from extractors.core.errors import ConfigurationError
from flows.console import exit_on_error, load_settings, print_json
from flows.flags import Json, Output  # noqa: TC001 - typer reads annotations


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
    """Sum the cost of calls by day, model, schema or outcome.

    Billed, wasted (billed, answer not published) and unknown, from tables and ledger.
    """
    with exit_on_error():
        from extractors.config.output_name import name_output
        from extractors.config.time_window import parse_bound

        settings = load_settings()
        first, last = parse_bound("--since", since), parse_bound("--until", until, end=True)
        if first and last and first > last:
            raise ConfigurationError(f"--since {since} is after --until {until}: use an earlier --since")

        from extractors.plan.estimate import open_ledger
        from extractors.record.output import open_output
        from extractors.report.spend import spend as sum_spending

        root = open_output(name_output(output or settings.output))
        with open_ledger(settings) as ledger:
            spending = sum_spending(root, ledger, by, first, last)
        if as_json:
            print_json({"since": first, "until": last, "by": by, "rows": spending.rows, "total": spending.total})
            return
        from extractors.report.summary import spending_table
        from extractors.report.terminal import terminal

        terminal().print(spending_table(by, spending.rows, spending.total), crop=False)
