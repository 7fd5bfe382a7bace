"""The command `tune`: labelled images, read at every rung and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.console import exit_on_error, load_settings
from flows.flags import Json, Output, SchemaName, Source, Yes  # noqa: TC001 - typer reads annotations

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.report.tuning import TuningView
    from extractors.run.tune.request import TuneRequest

Truth = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="True values: .jsonl, .csv or .parquet with `uri` and fields of the schema; corrections of the page fit.",
    ),
]
On = Annotated[
    str,
    typer.Option(
        metavar="FIELD",
        help="Join the rows of --truth, which then need no `uri`, to published rows by this field of the schema.",
    ),
]
ReviewCost = Annotated[
    float | None, typer.Option(metavar="USD", help="Cost of one document that a person looks at; needs --error-cost.")
]
ErrorCost = Annotated[
    float | None,
    typer.Option(
        metavar="USD", help="Cost of one wrong row that slips through: ladder and threshold are chosen by dollars."
    ),
]


def tune(
    source: Source,
    *,
    truth: Truth,
    on: On = "",
    from_rows: Annotated[
        bool, typer.Option("--from-rows", help="Score the published rows, without a call; no ladder is tried.")
    ] = False,
    schema: SchemaName = "",
    target: Annotated[
        float, typer.Option(metavar="P", help="Share of right documents among those that may skip review.")
    ] = 0.99,
    review_cost: ReviewCost = None,
    error_cost: ErrorCost = None,
    witness: Annotated[
        bool, typer.Option("--witness", help="Fit a score for --witness all, too: were the values seen on the page?")
    ] = False,
    output: Output = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Store ladder, thresholds and score for this endpoint, model and schema.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Measure accuracy against tokens on labelled images.

    Reads each at every rung; recommends a ladder and a threshold.
    """
    with exit_on_error():
        from extractors.config.job import build_job
        from extractors.config.run_config import resolve
        from extractors.record.tables.truth import check_readable
        from extractors.run.tune.dollars import check_prices
        from extractors.run.tune.request import TruthFile, TuneRequest
        from flows.console import divert_stdout, print_json, print_lines
        from flows.preflight import check_local_source

        prices = check_prices(review_cost, error_cost)
        request = TuneRequest(
            TruthFile(truth, on), target, apply=apply, from_rows=from_rows, prices=prices, witness=witness
        )
        looks = "all" if witness else None
        job = build_job(source=source, schema_name=schema, output=output, confidence=True, witness=looks, yes=yes)
        check_local_source(job)
        check_readable(truth)
        with divert_stdout():
            view = _run(resolve(job, load_settings(), sends=not from_rows), request)
        if as_json:
            print_json(view.as_json())
        else:
            print_lines(view.lines())


def _run(config: RunConfig, request: TuneRequest) -> TuningView:
    """Runs the tuning; asks on a terminal to confirm its cost if needed."""
    import asyncio

    from extractors.report.progress import Progress
    from extractors.run.hooks import RunHooks
    from extractors.run.tune.tuner import tune
    from flows.console import terminal_confirm

    with Progress() as progress:
        hooks = RunHooks(
            on_document=progress.add,
            on_calls=progress.add_calls,
            on_total=progress.set_total,
            notify=progress.notify,
            confirm=terminal_confirm(progress),
        )
        return asyncio.run(tune(config, request, hooks))
