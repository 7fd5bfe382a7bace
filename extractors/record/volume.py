"""One volume of a run: parts are staged as they come, sealed with the run's row, then published whole.

    staging/<run>/<volume>/<table>-<part>.parquet  ->  <table>/…/run_date=…/<run>[-<volume>].parquet

Parts are renamed into place, so one that is there is whole. The sealing row is staged before anything is published, and
published last: that is the commit. Publishing is idempotent, so whoever finds a sealed volume can finish it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import polars as pl

from extractors.errors import OutputError, first_line
from extractors.record import columns
from extractors.record.fields import field_rows
from extractors.record.rows import Keep, Row, call_row, kept, reply_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from extractors.model import Name, Terms
    from extractors.record.columns import Columns

# In this order: whoever sees a row of one table finds what it refers to in those before.
PUBLISHED = ("results", "replies", "failures", "images", "calls", "fields", "runs")
ALWAYS = frozenset({"failures", "images", "calls", "runs"})  # written by every run, with no rows if need be
BY_SCHEMA = frozenset({"results", "replies"})
STAGING = "staging"
LEAST_FREE = 2**18  # bytes: with less a disk is full
_COLUMNS: dict[str, Columns] = {
    "replies": columns.REPLIES,
    "failures": columns.FAILURES,
    "images": columns.IMAGES,
    "calls": columns.CALLS,
    "fields": columns.FIELDS,
    "runs": columns.RUNS,
}


class Volume:
    """The staged and the published files of one volume. Every method that writes raises OutputError when it cannot."""

    def __init__(self, root: Path, terms: Terms, number: int) -> None:
        """`number` counts from 1; nothing is written yet."""
        self.root, self.terms, self.number = root, terms, number
        self.folder = root / STAGING / terms.run / f"{number:04d}"

    @property
    def sealed(self) -> bool:
        """Whether every part is there, and the run's row with them."""
        return bool(self.parts("runs"))

    @property
    def committed(self) -> bool:
        """Whether the volume is published: its row in `runs` is there."""
        return self.path("runs").exists()

    def path(self, table: str) -> Path:
        """Where this volume's rows of a table are published; `fields` sums up the run, in one file."""
        by_schema = f"schema={self.terms.schema}" if table in BY_SCHEMA else ""
        name = self.terms.run if self.number == 1 or table == "fields" else f"{self.terms.run}-{self.number}"
        return self.root / table / by_schema / f"run_date={self.terms.run_date}" / f"{name}.parquet"

    def parts(self, table: str) -> list[Path]:
        """The staged parts of a table, in order."""
        return sorted(self.folder.glob(f"{table}-*.parquet"))

    def frame(self, table: str) -> pl.LazyFrame:
        """The rows of a table that is no schema's, published or staged."""
        files = self._files(table)
        return pl.scan_parquet(files) if files else pl.LazyFrame(schema=_COLUMNS[table])

    def called(self) -> set[str]:
        """The documents that were sent, published or staged."""
        return set(self.frame("calls").select("document").collect()["document"])

    def ended(self) -> set[Name]:
        """The documents with which the run came to an end, with their versions, published or staged."""
        files = self._files("results")
        accepted = pl.scan_parquet(files).select("_document", "_version").collect().rows() if files else []
        return {*accepted, *self.frame("failures").select("document", "version").collect().rows()}

    def done(self) -> set[Name]:
        """Those of them that need nothing more: accepted, or failed for good."""
        failures = self.frame("failures").filter(~pl.col("final")).select("document", "version").collect().rows()
        return self.ended() - set(failures)

    def stage(self, table: str, part: int, rows: Sequence[Row], schema: Columns | None = None) -> None:
        """Writes rows as one part of a table, under its name only when it is whole; no rows make no part."""
        if not rows:
            return
        path = self.folder / f"{table}-{part:06d}.parquet"
        with self._written():
            self.folder.mkdir(parents=True, exist_ok=True)
            frame = pl.DataFrame(rows, schema=schema or _COLUMNS[table], orient="row")
            frame.write_parquet(path.with_suffix(".part"), compression="zstd")
            os.replace(path.with_suffix(".part"), path)  # noqa: PTH105 - the atomic rename is the point

    def stage_calls(self, batches: Iterable[Sequence[Row]], keep: Keep) -> None:
        """Stages calls of the ledger, and those of their replies that are to be kept."""
        for part, batch in enumerate(batches):
            self.stage("calls", part, [call_row(call, self.terms) for call in batch])
            self.stage("replies", part, [reply_row(call) for call in batch if kept(call, keep)])

    def stage_fields(self, results: Sequence[Path] = ()) -> list[Row]:
        """Stages what the schema's fields look like in these files and in the volume's own results; returns the rows."""
        files = [*results, *self.parts("results")]
        if not files:
            return []
        with self._written():
            scanned = pl.scan_parquet(files)
            names = [name for name in scanned.collect_schema() if name not in columns.RESULTS]
            rows = field_rows(scanned, names, self.terms.run, self.terms.schema)
        self.stage("fields", 0, rows)
        return rows

    def publish(self) -> None:
        """Folds what is staged into one file a table, the row of `runs` last; then the parts go."""
        with self._written():
            for table in PUBLISHED:
                parts = self.parts(table)
                if parts or table in ALWAYS:
                    self._publish(table, parts)
        self.clear()

    def clear(self) -> None:
        """Takes the parts away; for a volume that is committed."""
        with self._written():
            shutil.rmtree(self.folder)
        for emptied in (self.folder.parent, self.folder.parent.parent):
            with suppress(OSError):  # other volumes, or other runs
                emptied.rmdir()

    def _files(self, table: str) -> list[Path]:
        published = self.path(table)
        return [published] if self.committed and published.exists() else self.parts(table)

    def _publish(self, table: str, parts: list[Path]) -> None:
        folded = self.folder / f"folded-{table}"
        if parts:
            pl.scan_parquet(parts).sink_parquet(folded, compression="zstd")
        else:
            pl.DataFrame(schema=_COLUMNS[table]).write_parquet(folded, compression="zstd")
        target = self.path(table)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folded, target)  # noqa: PTH105 - the atomic rename is the point

    @contextmanager
    def _written(self) -> Iterator[None]:
        """What keeps a file from being written, in words that say what is kept."""
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            kept = "what was answered is in the ledger, and the next run publishes it"
            # polars does not say why it could not write.
            full = shutil.disk_usage(self.root).free < LEAST_FREE
            why = f"its disk is full ({first_line(error)})" if full else first_line(error)
            raise OutputError(f"output {str(self.root)!r} cannot be written: {why}; {kept}") from error


def volumes(root: Path, terms: Terms) -> list[Volume]:
    """The volumes of a run that are staged, in order."""
    folder = root / STAGING / terms.run
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    return [Volume(root, terms, int(name)) for name in names if name.isdigit()]
