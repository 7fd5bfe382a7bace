"""The command `rows`: the rows of a schema, on the terminal or as a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extractors.core.errors import ConfigurationError
from flows.console import exit_on_error, load_settings
from flows.flags import Output  # noqa: TC001 - typer reads annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.report.rows import ResultRows

FIRST_SCREEN = 20  # rows of the table without --limit


def rows(
    schema: Annotated[
        str | None,
        typer.Argument(metavar="SCHEMA", help="Schema of the rows. Default: the only one in the output."),
    ] = None,
    *,
    output: Output = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only rows of this run.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every row, not only the current one of each document.")] = False,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns, separated by commas. Default: all that fit.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows. Default: 20 for a table.")] = None,
    corrected: Annotated[
        str | None, typer.Option(metavar="FILE", help="Apply the corrections of this .jsonl to the rows.")
    ] = None,
    layout: Annotated[
        Literal["table", "csv", "jsonl", "parquet"], typer.Option("--format", help="How the rows are written.")
    ] = "table",
) -> None:
    """Show the current row of each document, as a table or a file."""
    with exit_on_error():
        from extractors.config.output_name import name_output
        from extractors.record.tables.truth import read_truth
        from extractors.report.lookup import check_rows

        shown = limit or (FIRST_SCREEN if layout == "table" else None)
        lines = read_truth(corrected) if corrected else []
        place = name_output(output or load_settings().output)
        check_rows(place, schema, run)
        from extractors.record.output import open_output
        from extractors.report.rows import RowFilter, open_rows

        chosen = open_rows(open_output(place), schema, RowFilter(run, every, shown))
        names = chosen.check_columns([name.strip() for name in columns.split(",")]) if columns else []
        for document in chosen.correct(lines) if lines else ():
            typer.echo(f"tilewise: {document!r} in {corrected} has no row of {chosen.schema} here, ignored", err=True)
        if layout == "table":
            _print_table(chosen, names, limit)
        else:
            _write(chosen, names or list(chosen.columns), layout)


def _write(chosen: ResultRows, names: Sequence[str], layout: str) -> None:
    """Writes the rows to stdout."""
    from extractors.report.row_formats import write_csv, write_jsonl, write_rows_parquet

    if layout == "parquet" and sys.stdout.isatty():
        raise ConfigurationError("--format parquet writes bytes: send them to a file with > rows.parquet")
    writers = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_rows_parquet}
    writers[layout](chosen.frames(names), sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _choose_columns(chosen: ResultRows) -> list[str]:
    """The columns of a table where none are named: the document, its confidence, and the fields."""
    confidence = [name for name in ("_confidence",) if name in chosen.columns]
    return ["_document", *confidence, *chosen.fields]


def _print_table(chosen: ResultRows, names: Sequence[str], limit: int | None) -> None:
    """Prints the rows as a table, and below it on stderr what is not shown."""
    import polars as pl

    from extractors.report.row_formats import build_table, fit_columns
    from extractors.report.terminal import terminal

    console = terminal()
    frame = pl.concat(list(chosen.frames(names or _choose_columns(chosen))))
    if "_confidence" in frame.columns:
        confidence = frame["_confidence"].round(3)
        known = names or confidence.null_count() < frame.height
        frame = frame.with_columns(confidence) if known else frame.drop("_confidence")
    fitting = list(names) or fit_columns(frame, console.width)
    console.print(build_table(frame.select(fitting), console.width), crop=False)
    total, left_out = chosen.count(), [name for name in frame.columns if name not in fitting]
    notes = [f"{frame.height:,} of {total:,} rows of {chosen.schema}"]
    if left_out:
        notes.append(f"not shown: {', '.join(left_out)} (--columns A,B)")
    if limit is None and total > frame.height:
        notes.append("--limit N shows more, --format csv|jsonl|parquet writes all")
    typer.echo("; ".join(notes), err=True)
