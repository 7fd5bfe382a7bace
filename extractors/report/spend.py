"""Spend: the cost of calls by day, model, schema, source or outcome, from the tables and the ledger's unpublished calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from extractors.record.output.base import reading
from extractors.record.tables import columns
from extractors.record.tables.cascade import select_superseded
from extractors.record.tables.history import DAYS
from extractors.record.tables.rows import call_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from extractors.record.ledger import Ledger
    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row

By = Literal["day", "model", "schema", "source", "outcome"]
_CALL = ["run", "document", "attempt"]  # identifies a call
_COLUMNS = {
    name: columns.CALLS[name]
    for name in (
        *_CALL,
        "schema",
        "model_requested",
        "started_at",
        "outcome",
        "billed",
        "rung",
        "sent_width",
        "prompt_tokens",
        "completion_tokens",
        "reserved_usd",
        "cost_usd",
    )
}
_RUNS: columns.Columns = {"run": columns.TEXT, "source": columns.TEXT}
_ANSWERS: columns.Columns = {name: columns.RESULTS[name] for name in ("_run", "_document", "_rung", "_copied_from")}
_BILLED, _UNKNOWN = pl.col("billed") == "yes", pl.col("billed") == "unknown"
_SUMS = (
    pl.len().alias("calls"),
    pl.col("prompt_tokens").sum(),
    pl.col("completion_tokens").sum(),
    pl.col("cost_usd").filter(_BILLED).sum().alias("billed_usd"),
    pl.col("cost_usd")
    .filter(_BILLED & ((pl.col("outcome") != "accepted") | pl.col("superseded")))
    .sum()
    .alias("wasted_usd"),
    pl.col("reserved_usd").filter(_UNKNOWN).sum().alias("unknown_usd"),
    # Calls without a known price are in no sum.
    ((_BILLED & pl.col("cost_usd").is_null()) | (_UNKNOWN & pl.col("reserved_usd").is_null())).sum().alias("unpriced"),
)


@dataclass(frozen=True, slots=True)
class Spending:
    """Sums by group and in total: calls, tokens, dollars billed, wasted, and with unknown billing status."""

    by: By
    rows: list[Row]
    total: Row


def spend(output: Output, ledger: Ledger | None, by: By, since: datetime | None, until: datetime | None) -> Spending:
    """Sums the spending of an output between two times, both inclusive, sorted by group; days are UTC days.

    Raises ConfigurationError if a table cannot be read.
    """
    with reading(output):
        calls = _load_calls(output, ledger)
    if since:
        calls = calls.filter(pl.col("started_at") >= since)
    if until:
        calls = calls.filter(pl.col("started_at") <= until)
    group = {"day": pl.col("started_at").dt.date().cast(pl.String), "model": pl.col("model_requested")}
    grouped = calls.group_by(group.get(by, pl.col(by)).alias(by)).agg(_SUMS).sort(by)
    return Spending(by, grouped.to_dicts(), calls.select(_SUMS).to_dicts()[0])


def _load_calls(output: Output, ledger: Ledger | None) -> pl.DataFrame:
    """Every call of this output once: published, or only in the ledger."""
    calls, runs = _load_published(output, "calls", _COLUMNS), _load_published(output, "runs", _RUNS).unique()
    parts = [calls.join(runs, on="run", how="left")]
    for batch in _load_unpublished(output, ledger):
        rows = pl.DataFrame(batch, schema=_COLUMNS | {"source": columns.TEXT}, orient="row")
        # A run that was killed between commit and end is in both.
        parts.append(rows.join(calls.select(_CALL), on=_CALL, how="anti"))
    return _mark_superseded(output, pl.concat(parts, how="vertical").with_columns(pl.col("source").fill_null("")))


def _mark_superseded(output: Output, calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with whether another accepted answer of their document is published; results are read only if need be."""
    accepted = calls.filter(_BILLED & (pl.col("outcome") == "accepted"))
    several = accepted.filter((pl.len().over("run", "document") > 1) | columns.AUDIT_CALL)
    files = output.list_files("results", "schema=*/run_date=*/*.parquet") if several.height else []
    results = output.scan(files, _ANSWERS) if files else None
    superseded = select_superseded(results, several.lazy()).select(*_CALL, superseded=pl.lit(value=True))
    marked = calls.join(superseded, on=_CALL, how="left")
    return marked.with_columns(pl.col("superseded").fill_null(value=False))


def _load_published(output: Output, table: str, wanted: columns.Columns) -> pl.DataFrame:
    files = output.list_files(table, DAYS)
    return output.scan(files, wanted).collect() if files else pl.DataFrame(schema=wanted)


def _load_unpublished(output: Output, ledger: Ledger | None) -> Iterator[list[Row]]:
    for terms in ledger.runs.list_unpublished(str(output)) if ledger else ():
        for batch in ledger.calls.iter_unpublished(terms.run) if ledger else ():
            rows = [call_row(call, terms) for call in batch]
            yield [{name: row[name] for name in _COLUMNS} | {"source": terms.source} for row in rows]
