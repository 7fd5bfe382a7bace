"""The published tables: parts of a run are staged chunk by chunk, then folded into one file a table, `runs` last.

A run's rows appear whole: a file is renamed into place, and the run's row in `runs` is its commit.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import polars as pl

from extractors.errors import ConfigurationError, OutputError, first_line
from extractors.model import Accepted, Failed, Left
from extractors.record import columns
from extractors.record.columns import CellError, Columns, Fields
from extractors.record.rows import Keep, Row, call_rows, failure_row, image_rows, reply_rows, result_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from pydantic import BaseModel

    from extractors.model import Terms

# In this order: whoever sees a row of one table finds what it refers to in those before.
PUBLISHED = ("results", "replies", "failures", "images", "calls", "runs")
ALWAYS = frozenset({"failures", "images", "calls", "runs"})  # written by every run, with no rows if need be
BY_SCHEMA = frozenset({"results", "replies"})


class Tables:
    """The tables of one run under one output folder."""

    def __init__(self, root: Path, terms: Terms, model: type[BaseModel], keep: Keep = "all") -> None:
        """Nothing is written before it is entered."""
        self._root, self._terms, self._keep = root, terms, keep
        self._fields = Fields(model)
        self._staging = root / "staging" / terms.run
        self._published: list[tuple[str, Path]] = []
        self._columns: dict[str, Columns] = {
            "results": self._fields.columns | columns.RESULTS,
            "replies": columns.REPLIES,
            "failures": columns.FAILURES,
            "images": columns.IMAGES,
            "calls": columns.CALLS,
            "runs": columns.RUNS,
        }

    def __enter__(self) -> Self:
        """Makes the run's staging folder. Raises ConfigurationError where the output cannot be written."""
        try:
            self._staging.mkdir(parents=True)
            for table in PUBLISHED:
                (self._root / table).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"output {str(self._root)!r} cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the staging folder away; parts that were not published stay in it."""
        with suppress(OSError):  # not empty
            self._staging.rmdir()
            self._staging.parent.rmdir()

    def refusal(self, document: BaseModel) -> str | None:
        """Why this document's values do not fit into their columns, None when they do."""
        try:
            self._fields.row(document)
        except CellError as error:
            return str(error)
        return None

    def stage(self, part: int, ends: Sequence[Accepted | Failed | Left]) -> None:
        """Writes the rows of these documents as one part of every table that has any."""
        rows: dict[str, list[Row]] = {
            "results": [result_row(end, self._terms, self._fields) for end in ends if isinstance(end, Accepted)],
            "replies": [row for end in ends for row in reply_rows(end, self._terms, self._keep)],
            "failures": [failure_row(end, self._terms) for end in ends if isinstance(end, Failed)],
            "images": [row for end in ends if not isinstance(end, Left) for row in image_rows(end, self._terms)],
            "calls": [row for end in ends for row in call_rows(end, self._terms)],
        }
        with self._written():
            for table, table_rows in rows.items():
                if table_rows:
                    self._write(table, table_rows, self._staging / f"{table}-{part:06d}.parquet")

    def publish(self, volume: int, run_row: Row) -> None:
        """Folds what is staged into one file a table, the row of `runs` last; then the parts go."""
        with self._written():
            self._write("runs", [run_row], self._staging / "runs-000000.parquet")
            for table in PUBLISHED:
                parts = sorted(self._staging.glob(f"{table}-*.parquet"))
                if parts or table in ALWAYS:
                    self._publish(table, parts, volume)
            for part in self._staging.iterdir():
                part.unlink()

    def published(self, table: str) -> tuple[Path, ...]:
        """The files of this table that this run has published."""
        return tuple(path for name, path in self._published if name == table)

    @contextmanager
    def _written(self) -> Iterator[None]:
        """What keeps a file from being written, in words that say what is kept."""
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            kept = f"what was answered is in the ledger, what was staged in {self._staging}"
            raise OutputError(f"output {str(self._root)!r} cannot be written: {first_line(error)}; {kept}") from error

    def _path(self, table: str, volume: int) -> Path:
        """Where a table's rows of this run are published."""
        by_schema = f"schema={self._terms.schema}" if table in BY_SCHEMA else ""
        name = self._terms.run if volume == 1 else f"{self._terms.run}-{volume}"
        return self._root / table / by_schema / f"run_date={self._terms.run_date}" / f"{name}.parquet"

    def _publish(self, table: str, parts: list[Path], volume: int) -> None:
        folded = self._staging / f"folded-{table}"
        if parts:
            pl.scan_parquet(parts).sink_parquet(folded, compression="zstd")
        else:
            pl.DataFrame(schema=self._columns[table]).write_parquet(folded, compression="zstd")
        target = self._path(table, volume)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folded, target)  # noqa: PTH105 - the atomic rename is the point
        self._published.append((table, target))

    def _write(self, table: str, rows: list[Row], path: Path) -> None:
        frame = pl.DataFrame(rows, schema=self._columns[table], orient="row")
        frame.write_parquet(path, compression="zstd")
