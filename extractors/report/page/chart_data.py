"""The figures behind the charts of the report, read from the tables of a run and of the runs before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from extractors.record.tables import columns
from extractors.record.tables.history import DAYS
from extractors.report.page.runs import ENDED, list_runs

if TYPE_CHECKING:
    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row
    from extractors.report.page.runs import RunTables

MOST_POINTS, MOST_FOLDERS, MOST_RUNS, MOST_FIELDS = 300, 8, 30, 5
REFUSALS = ("rate_limited", "capacity")
_SLICES = 48  # of the time of a run
_LOOKED_AT = 300  # runs, in which the last ones with documents are looked for
_SUMS = (pl.col("prompt_tokens").sum(), pl.col("completion_tokens").sum(), pl.col("cost_usd").cast(pl.Float64).sum())
_TREND: columns.Columns = {
    name: columns.RUNS[name] for name in ("run", "volume", "schema", "started_at", "cost_usd", *ENDED)
}


def predicted_tokens(tables: RunTables) -> pl.DataFrame:
    """Predicted and billed prompt tokens of the answered calls, the most frequent pairs first, with their calls."""
    calls = tables.rows("calls", columns.CALLS).filter(pl.col("prompt_tokens").is_not_null())
    pairs = calls.group_by(predicted="estimated_prompt_tokens", billed="prompt_tokens").agg(pl.len().alias("calls"))
    return pairs.sort("calls", "predicted", "billed", descending=[True, False, False]).head(MOST_POINTS).collect()


def spend_by_rung(tables: RunTables) -> pl.DataFrame:
    """Tokens and cost by rung, the cheapest first."""
    calls = tables.rows("calls", columns.CALLS).filter(pl.col("rung").is_not_null())
    return calls.group_by("rung").agg(_SUMS).sort("rung").collect()


def spend_by_folder(tables: RunTables) -> pl.DataFrame:
    """Tokens and cost of the folders with the most tokens, named by the last two parts of their paths."""
    folder = pl.col("document").str.replace(r"/[^/]*$", "").str.extract(r"([^/]*/?[^/]*)$").alias("folder")
    calls = tables.rows("calls", columns.CALLS).group_by(folder).agg(_SUMS)
    tokens = pl.col("prompt_tokens") + pl.col("completion_tokens")
    return calls.sort(tokens, pl.col("folder"), descending=[True, False]).head(MOST_FOLDERS).collect()


def latencies(tables: RunTables) -> pl.Series:
    """The seconds of all calls, sorted."""
    return tables.rows("calls", columns.CALLS).select("seconds").drop_nulls().sort("seconds").collect()["seconds"]


def calls_over_time(tables: RunTables) -> pl.DataFrame:
    """Calls by slice of the run's time, in minutes since the first: accepted, refused for the rate, and all others."""
    calls = tables.rows("calls", columns.CALLS).select("started_at", "outcome").collect()
    seconds = (pl.col("started_at") - pl.col("started_at").min()).dt.total_milliseconds() / 1000
    placed = calls.select(seconds.alias("seconds"), "outcome")
    last = placed["seconds"].max()
    width = max(float(last) if isinstance(last, int | float) else 0.0, 1.0) / _SLICES
    kind = (
        pl.when(pl.col("outcome") == "accepted")
        .then(pl.lit("accepted"))
        .when(pl.col("outcome").is_in(REFUSALS))
        .then(pl.lit("refused"))
        .otherwise(pl.lit("other"))
    )
    slices = (pl.col("seconds") / width).floor().clip(0, _SLICES - 1).alias("slice")
    counted = placed.group_by(slices, kind.alias("kind")).agg(pl.len())
    every = pl.DataFrame({"slice": [float(number) for number in range(_SLICES)]})
    for name in ("accepted", "other", "refused"):
        part = counted.filter(pl.col("kind") == name).select("slice", pl.col("len").alias(name))
        every = every.join(part, on="slice", how="left")
    return every.with_columns((pl.col("slice") + 0.5) * width / 60).rename({"slice": "minutes"}).fill_null(0)


def last_runs(output: Output, run: Row) -> pl.DataFrame:
    """The last runs of the schema that read documents, up to this one: when, spend, and the share accepted."""
    runs = list_runs(output)
    names = [name for name in runs if name <= str(run["run"])][-_LOOKED_AT:]
    rows = output.scan([key for name in names for key in runs[name]], _TREND).filter(pl.col("schema") == run["schema"])
    unpriced = pl.col("cost_usd").is_null().any()
    spend = pl.when(unpriced).then(None).otherwise(pl.col("cost_usd").cast(pl.Float64).sum()).alias("spend")
    summed = rows.group_by("run").agg(pl.col("started_at").min(), spend, *(pl.col(name).sum() for name in ENDED))
    ended = pl.sum_horizontal(ENDED)
    share = ((pl.col("accepted") + pl.col("duplicates")) / ended).clip(0, 1).alias("share")
    return summed.filter(ended > 0).with_columns(share).sort("started_at", "run").tail(MOST_RUNS).collect()


def null_shares(output: Output, runs: pl.DataFrame, schema: str) -> pl.DataFrame:
    """The share of nulls by run and field, of the fields where it is largest."""
    wanted = set(runs["run"])
    days = {f"run_date={run[:4]}-{run[4:6]}-{run[6:8]}" for run in wanted}
    files = [key for key in output.list_files("fields", DAYS) if key.split("/")[1] in days and _run_of(key) in wanted]
    if not files:
        return pl.DataFrame(schema={"run": columns.TEXT, "field": columns.TEXT, "share": columns.REAL})
    rows = output.scan(files, columns.FIELDS).filter((pl.col("schema") == schema) & (pl.col("rows") > 0))
    shares = rows.group_by("run", "field").agg((pl.col("nulls").sum() / pl.col("rows").sum()).alias("share"))
    found = shares.sort("run", "field").collect()
    most = found.group_by("field").agg(pl.col("share").max()).sort("share", "field", descending=[True, False])
    chosen = most.filter(pl.col("share") > 0).head(MOST_FIELDS)["field"]
    return found.filter(pl.col("field").is_in(chosen.implode()))


def _run_of(key: str) -> str:
    """The run of a file, which may be of a later volume."""
    return "-".join(key.rpartition("/")[2].removesuffix(".parquet").split("-")[:2])
