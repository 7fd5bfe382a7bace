"""What a run's answers looked like in numbers, of the run at hand and of earlier ones: what drift is told from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from extractors.record.output.base import OUTPUT_ERRORS
from extractors.record.tables import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row

MIN_ROWS = 200  # accepted or failed documents: fewer say nothing about a share

_RUNS = ("run", "flow", "schema", "source", "started_at", "accepted", "failed", "cost_usd")


@dataclass(frozen=True, slots=True)
class RunProfile:
    """Shares are of 1. `nulls`: by field, of the accepted; `accepted`: of all rows; `climbed`: of the documents called.

    `rows` are the documents accepted or failed; `climbed` were called at more than one rung, None when nothing is known
    of calls; `cost` is in dollars a row, None when a price was unknown.
    """

    run: str
    rows: int
    nulls: Mapping[str, float] = field(default_factory=dict)
    accepted: float = 0.0
    climbed: float | None = None
    cost: Decimal | None = None


def profile_of(
    run: str, fields: Sequence[Row], calls: pl.LazyFrame, *, accepted: int, failed: int, cost_usd: Decimal | None
) -> RunProfile:
    """The shape of a run from its rows of `fields`, its `calls`, and what its row of `runs` says; volumes summed."""
    told = pl.DataFrame(fields, schema=columns.FIELDS, orient="row")
    return _build_profile(run, told, [calls], accepted, failed, cost_usd)


def recent_profiles(
    output: Output, source: str, schema: str, count: int = 7, *, before: str | None = None
) -> list[RunProfile]:
    """The newest `count` runs of this source and schema that are published under `root`, the newest first.

    Runs of fewer than 200 rows are left out, and so is the run `before`, some volumes of which may be published.
    Nothing but a warning hangs on them: what cannot be read is passed over, with the rest of its day.
    """
    shapes: list[RunProfile] = []
    for day in reversed(_list_days(output)):  # by day, for there may be years of them
        with suppress(*OUTPUT_ERRORS):
            for run, *told in _read_runs(output, day, source, schema, before).iter_rows():
                if len(shapes) == count:
                    return shapes
                shapes.append(_build_profile(run, _read_fields(output, day, run), _scan_calls(output, day, run), *told))
    return shapes


def _list_days(output: Output) -> list[str]:
    with suppress(*OUTPUT_ERRORS):
        return [day for day in output.list_folders("runs") if day.startswith("run_date=")]
    return []


def _read_runs(output: Output, day: str, source: str, schema: str, before: str | None) -> pl.DataFrame:
    """The runs of one day that are large enough, volumes summed, the newest first: id, accepted, failed, dollars."""
    wanted = (pl.col("flow") == "run") & (pl.col("source") == source) & (pl.col("schema") == schema)
    rows = _scan_columns(
        output, output.list_files(f"runs/{day}", "*.parquet"), {name: columns.RUNS[name] for name in _RUNS}
    ).filter(wanted & (pl.col("run") != (before or "")))
    cost = pl.when(pl.col("cost_usd").null_count() == 0).then(pl.col("cost_usd").sum())  # one unknown, all unknown
    summed = rows.group_by("run").agg(pl.col("accepted", "failed").sum(), cost, pl.col("started_at").min())
    large = summed.filter(pl.col("accepted") + pl.col("failed") >= MIN_ROWS)
    return large.sort("started_at", "run", descending=True).drop("started_at").collect()


def _read_fields(output: Output, day: str, run: str) -> pl.DataFrame:
    """The run's rows of `fields`: none in an output of an older version."""
    return _scan_columns(output, _list_run_files(output, f"fields/{day}", run), columns.FIELDS).collect()


def _scan_calls(output: Output, day: str, run: str) -> list[pl.LazyFrame]:
    wanted = {name: columns.CALLS[name] for name in ("document", "rung")}
    return [_scan_columns(output, [file], wanted) for file in _list_run_files(output, f"calls/{day}", run)]


def _scan_columns(output: Output, files: list[str], wanted: columns.Columns) -> pl.LazyFrame:
    return output.scan(files, wanted) if files else pl.LazyFrame(schema=wanted)


def _list_run_files(output: Output, folder: str, run: str) -> list[str]:
    """The run's files in this folder, one for each volume."""
    names = [
        (file, file.rpartition("/")[2].removesuffix(".parquet"))
        for file in output.list_files(folder, f"{run}*.parquet")
    ]
    return [file for file, name in names if f"{name}-".startswith(f"{run}-")]


def _build_profile(
    run: str,
    fields: pl.DataFrame,
    calls: Iterable[pl.LazyFrame],
    accepted: int,
    failed: int,
    cost_usd: Decimal | None,
) -> RunProfile:
    rows = accepted + failed
    cost = cost_usd / rows if rows and cost_usd is not None else None
    return RunProfile(run, rows, _null_shares(fields), accepted / rows if rows else 0.0, _climbed_share(calls), cost)


def _null_shares(fields: pl.DataFrame) -> dict[str, float]:
    summed = fields.group_by("field", maintain_order=True).agg(pl.col("nulls", "rows").sum())
    some = summed.filter(pl.col("rows") > 0)
    return {name: nulls / rows for name, nulls, rows in some.iter_rows()}


def _climbed_share(volumes: Iterable[pl.LazyFrame]) -> float | None:
    """The share of documents called at more than one rung. By volume: all calls of a document are in one."""
    documents = climbed = 0
    for calls in volumes:
        # By 64 bits of their names: a million of those would take a hundred megabytes.
        rungs = calls.group_by(pl.col("document").hash()).agg(several=pl.col("rung").min() < pl.col("rung").max())
        told = rungs.select(pl.len(), pl.col("several").sum()).collect(engine="streaming")
        here, higher = told.row(0)
        documents, climbed = documents + here, climbed + higher
    return climbed / documents if documents else None
