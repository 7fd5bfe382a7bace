"""Profiles of runs for drift checks: shares of nulls, accepted documents and retries at a higher rung, and cost per row."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from extractors.record.output.base import OUTPUT_ERRORS
from extractors.record.tables import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row

MIN_ROWS = 200  # accepted or failed documents: shares of fewer are not significant

_CALLS = ("document", "rung", "sent_width", "cost_usd")
_RUNS = ("run", "flow", "schema", "source", "started_at", "accepted", "failed", "cost_usd")


@dataclass(frozen=True, slots=True)
class RunProfile:
    """Shares from 0 to 1. `nulls`: by field, of the accepted; `accepted`: of all rows; `climbed`: of the documents called.

    `rows` are the documents accepted or failed; `climbed` were called at more than one rung, None without
    calls; `cost` is in dollars a row without that of an audit, None when a price was unknown.
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
    """The profile of a run from its rows of `fields`, its `calls`, and the counts of `runs`, summed over volumes."""
    frame = pl.DataFrame(fields, schema=columns.FIELDS, orient="row")
    return _build_profile(run, frame, [calls], accepted, failed, cost_usd)


def recent_profiles(
    output: Output, source: str, schema: str, count: int = 7, *, before: str | None = None
) -> list[RunProfile]:
    """The newest `count` published runs of this source and schema, the newest first.

    Leaves out runs with fewer than 200 rows, and the run `before`, which may have published volumes.
    Skips files that cannot be read, and the rest of their day: the profiles only serve warnings.
    """
    profiles: list[RunProfile] = []
    for day in reversed(_list_days(output)):  # by day: years of runs may be published
        with suppress(*OUTPUT_ERRORS):
            for run, *counts in _read_runs(output, day, source, schema, before).iter_rows():
                if len(profiles) == count:
                    return profiles
                profiles.append(
                    _build_profile(run, _read_fields(output, day, run), _scan_calls(output, day, run), *counts)
                )
    return profiles


def _list_days(output: Output) -> list[str]:
    with suppress(*OUTPUT_ERRORS):
        return [day for day in output.list_folders("runs") if day.startswith("run_date=")]
    return []


def _read_runs(output: Output, day: str, source: str, schema: str, before: str | None) -> pl.DataFrame:
    """The sufficiently large runs of one day, summed over volumes, the newest first: id, accepted, failed, dollars."""
    wanted = (pl.col("flow") == "run") & (pl.col("source") == source) & (pl.col("schema") == schema)
    rows = _scan_columns(
        output, output.list_files(f"runs/{day}", "*.parquet"), {name: columns.RUNS[name] for name in _RUNS}
    ).filter(wanted & (pl.col("run") != (before or "")))
    cost = pl.when(pl.col("cost_usd").null_count() == 0).then(
        pl.col("cost_usd").sum()
    )  # the sum is unknown if one cost is unknown
    summed = rows.group_by("run").agg(pl.col("accepted", "failed").sum(), cost, pl.col("started_at").min())
    large = summed.filter(pl.col("accepted") + pl.col("failed") >= MIN_ROWS)
    return large.sort("started_at", "run", descending=True).drop("started_at").collect()


def _read_fields(output: Output, day: str, run: str) -> pl.DataFrame:
    """The run's rows of `fields`; none in the output of an older version."""
    return _scan_columns(output, _list_run_files(output, f"fields/{day}", run), columns.FIELDS).collect()


def _scan_calls(output: Output, day: str, run: str) -> list[pl.LazyFrame]:
    wanted = {name: columns.CALLS[name] for name in _CALLS}
    return [_scan_columns(output, [file], wanted) for file in _list_run_files(output, f"calls/{day}", run)]


def _scan_columns(output: Output, files: list[str], wanted: columns.Columns) -> pl.LazyFrame:
    return output.scan(files, wanted) if files else pl.LazyFrame(schema=wanted)


def _list_run_files(output: Output, folder: str, run: str) -> list[str]:
    """The run's files in this folder, one per volume."""
    names = [
        (file, file.rpartition("/")[2].removesuffix(".parquet"))
        for file in output.list_files(folder, f"{run}*.parquet")
    ]
    return [file for file, name in names if f"{name}-".startswith(f"{run}-")]


def _build_profile(
    run: str,
    fields: pl.DataFrame,
    calls: Sequence[pl.LazyFrame],
    accepted: int,
    failed: int,
    cost_usd: Decimal | None,
) -> RunProfile:
    rows = accepted + failed
    cost = (cost_usd - _sum_audit(calls)) / rows if rows and cost_usd is not None else None
    return RunProfile(run, rows, _null_shares(fields), accepted / rows if rows else 0.0, _climbed_share(calls), cost)


def _null_shares(fields: pl.DataFrame) -> dict[str, float]:
    summed = fields.group_by("field", maintain_order=True).agg(pl.col("nulls", "rows").sum())
    some = summed.filter(pl.col("rows") > 0)
    return {name: nulls / rows for name, nulls, rows in some.iter_rows()}


def _sum_audit(volumes: Iterable[pl.LazyFrame]) -> Decimal:
    """What the audit of a run cost: a night with one is not dearer a document."""
    costs = (calls.filter(columns.AUDIT_CALL).select(pl.col("cost_usd").sum()).collect().item() for calls in volumes)
    return sum((cost for cost in costs if cost is not None), Decimal(0))


def _climbed_share(volumes: Iterable[pl.LazyFrame]) -> float | None:
    """The share of documents called at more than one rung, by volume: all calls of a document are in one volume."""
    documents = climbed = 0
    for calls in volumes:
        # Grouped by a 64-bit hash: a million names would take a hundred megabytes.
        read = calls.filter(~columns.AUDIT_CALL)
        rungs = read.group_by(pl.col("document").hash()).agg(several=pl.col("rung").min() < pl.col("rung").max())
        counts = rungs.select(pl.len(), pl.col("several").sum()).collect(engine="streaming")
        called, several = counts.row(0)
        documents, climbed = documents + called, climbed + several
    return climbed / documents if documents else None
