"""The runs that a report can be about, and the files that each has published."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.errors import ConfigurationError
from extractors.record.tables import columns
from extractors.record.tables.history import DAYS
from extractors.record.tables.volume import BY_SCHEMA, PUBLISHED, scan_results
from extractors.report.lookup import RUN_ID, check_run_id, day_of, no_run, unpublished_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row

_RUN_FILE = re.compile(rf"({RUN_ID})(?:-\d+)?")  # of a run's file: the run, and its volume after the first
_SUMMED = [name for name, dtype in columns.RUNS.items() if dtype in {columns.INT, columns.MONEY} and name != "volume"]
ENDED = ("accepted", "rejected", "failed", "duplicates")  # documents with a row of this run
TUNE = "tune"  # a flow whose runs have a page of their own
_WORK: columns.Columns = {name: columns.RUNS[name] for name in ("run", "flow", "started_at", *ENDED)}
_READ_AT_ONCE = 50  # runs, from the last one backwards
_LAST_VOLUME = ("status", "finished_at", "error")  # of a run's row: how the last volume ended is how the run did


@dataclass(frozen=True, slots=True)
class RunTables:
    """The published tables of one run."""

    output: Output
    run: str
    files: Mapping[str, Sequence[str]]

    def rows(self, table: str, wanted: columns.Columns) -> pl.LazyFrame:
        """The rows of the run in a table; none where it has no file."""
        files = self.files[table]
        return self.output.scan(files, wanted) if files else pl.LazyFrame(schema=wanted)

    def results(self) -> pl.LazyFrame | None:
        """The rows of results with all of their columns; None where there are no results."""
        return scan_results(self.output, self.files["results"]) if self.files["results"] else None

    @property
    def paths(self) -> dict[str, list[str]]:
        """The full names of the files of each table."""
        return {table: [self.output.full_name(key) for key in keys] for table, keys in self.files.items()}


def open_run(output: Output, run: str | None) -> RunTables:
    """The tables of this published run, or of the last one that read documents.

    Raises ConfigurationError if there is none.
    """
    found = _find_run(output, run)
    return RunTables(output, found, {table: list_files(output, table, found) for table in PUBLISHED})


def load_run(tables: RunTables) -> Row:
    """The row of the run in `runs` with its volumes summed; an amount that is unknown in one volume is unknown."""
    volumes = tables.rows("runs", columns.RUNS).sort("volume").collect()
    sums = [
        pl.when(pl.col(name).is_null().any()).then(None).otherwise(pl.col(name).sum()).alias(name) for name in _SUMMED
    ]
    rows, summed = volumes.to_dicts(), volumes.select(sums).to_dicts()[0]
    warnings = volumes["warnings"].explode().drop_nulls().unique(maintain_order=True).to_list()
    last = {name: rows[-1][name] for name in _LAST_VOLUME}
    return rows[0] | summed | last | {"warnings": warnings, "stopped_at_rung": _sum_rungs(rows)}


def _sum_rungs(volumes: Sequence[Row]) -> str | None:
    """The accepted documents by rung of all volumes, as JSON."""
    total = Counter[str]()
    for volume in volumes:
        total.update(json.loads(str(volume["stopped_at_rung"] or "{}")))
    return json.dumps(total) if total else None


def count_ended(run: Row) -> int:
    """The documents that have a row of this run, in results or failures."""
    return sum(count for name in ENDED if isinstance(count := run[name], int))


def list_runs(output: Output) -> dict[str, list[str]]:
    """The published runs in order of time, each with its files in the table `runs`."""
    runs: dict[str, list[str]] = {}
    for key in output.list_files("runs", DAYS):
        if named := _RUN_FILE.fullmatch(PurePosixPath(key).stem):
            runs.setdefault(named[1], []).append(key)
    return dict(sorted(runs.items()))


def list_files(output: Output, table: str, run: str) -> list[str]:
    """The files of a table of the run, in order of volumes."""
    day = f"run_date={day_of(run)}"
    if table in BY_SCHEMA:
        files = output.list_files(table, f"schema=*/{day}/{run}*.parquet")
    else:  # in a bucket, all that is below a folder is listed
        files = output.list_files(f"{table}/{day}", f"{run}*.parquet")
    return sorted(files, key=lambda key: (len(key), key))


def _find_run(output: Output, run: str | None) -> str:
    """The id of the requested published run, or of the last one that read documents."""
    if run is None:
        return _find_latest_run(output)
    check_run_id(run)
    if not list_files(output, "runs", run):
        raise unpublished_run(str(output), run)
    return run


def _find_latest_run(output: Output) -> str:
    """The run with documents that started last. Raises ConfigurationError if there is none."""
    runs = list_runs(output)
    if not runs:
        raise no_run(str(output))
    names = list(runs)
    worked = (pl.sum_horizontal(ENDED).fill_null(0) > 0) & pl.col("flow").ne_missing(TUNE)
    for end in range(len(names), 0, -_READ_AT_ONCE):
        keys = [key for name in names[max(0, end - _READ_AT_ONCE) : end] for key in runs[name]]
        begun = output.scan(keys, _WORK).filter(worked).sort("started_at").select("run").collect()
        if begun.height:  # ids do not order the runs of one second, times do
            return str(begun["run"][-1])
    raise ConfigurationError(
        f"output {str(output)!r} has {len(runs):,} published runs, and none of them read a document: name a run, or choose"
        " another output with --output"
    )
