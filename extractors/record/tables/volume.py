"""One volume of a run: parts are staged, sealed with the run's row, then published as a whole.

    staging/<run>/<volume>/<table>-<part>.parquet  ->  <table>/…/run_date=…/<run>[-<volume>].parquet

Parts are renamed into place, so an existing part is complete. The run's row is staged last, which seals the volume, and
published last, which commits it. Publishing is idempotent, so any process can finish a sealed volume.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from extractors.record.output.base import writing
from extractors.record.tables import columns
from extractors.record.tables.field_stats import field_rows
from extractors.record.tables.frame import build_frame
from extractors.record.tables.rows import Keep, Row, call_row, is_kept, reply_row
from extractors.record.tables.views import write_views

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from extractors.core import Name, RunInfo
    from extractors.record.output.base import Output
    from extractors.record.tables.columns import Columns

# In the order of publication: rows refer only to tables before theirs.
PUBLISHED = ("results", "replies", "failures", "images", "calls", "fields", "runs")
ALWAYS = frozenset({"failures", "images", "calls", "runs"})  # written by every run, also without rows
BY_SCHEMA = frozenset({"results", "replies"})
STAGING = "staging"
_COLUMNS: dict[str, Columns] = {
    "replies": columns.REPLIES,
    "failures": columns.FAILURES,
    "images": columns.IMAGES,
    "calls": columns.CALLS,
    "fields": columns.FIELDS,
    "runs": columns.RUNS,
}


SHARD_PARTS = 10**9  # part numbers of each shard, after those of a run without shards
ATTEMPT_PARTS = 10**6  # of these, those of each attempt at the shard
RESTORED = ATTEMPT_PARTS - 1  # the last part of an attempt: answers that were recorded and not staged


@dataclass(frozen=True, slots=True)
class PartId:
    """A part: its number within an attempt at a shard; a run without shards has no shard and one attempt.

    Each attempt at each shard has a range of numbers in the names of its files, so no two write the same file.
    """

    part: int
    shard: int | None = None
    attempt: int = 0

    @property
    def number(self) -> int:
        """The number in the name of a file; it orders the parts of a run."""
        shard = 0 if self.shard is None else self.shard + 1
        return shard * SHARD_PARTS + self.attempt * ATTEMPT_PARTS + self.part

    @property
    def next(self) -> PartId:
        """The part after this one."""
        return replace(self, part=self.part + 1)

    @property
    def restored(self) -> PartId:
        """The part for answers that this attempt restores from the ledger."""
        return replace(self, part=RESTORED)

    @classmethod
    def parse(cls, key: str) -> PartId:
        """Reads it from the name of a file."""
        shard, number = divmod(int(key.rpartition("-")[2].removesuffix(".parquet")), SHARD_PARTS)
        attempt, part = divmod(number, ATTEMPT_PARTS)
        return cls(part, shard - 1 if shard else None, attempt)


class Volume:
    """The staged and the published files of one volume. Methods that write raise OutputError on failure."""

    def __init__(self, output: Output, run_info: RunInfo, number: int) -> None:
        """`number` counts from 1. Writes nothing."""
        self.output, self.run_info, self.number = output, run_info, number
        self.folder = f"{STAGING}/{run_info.run}/{number:04d}"

    @property
    def exists(self) -> bool:
        """Whether its staging folder exists."""
        above, _, name = self.folder.rpartition("/")
        return name in self.output.list_folders(above)

    @property
    def sealed(self) -> bool:
        """Whether all parts and the run's row are staged."""
        return bool(self.list_parts("runs"))

    @property
    def committed(self) -> bool:
        """Whether the volume is published: its row of `runs` exists."""
        return self.is_published("runs")

    def is_published(self, table: str) -> bool:
        """Whether this volume's rows of a table are published."""
        return self.output.exists(self.published_key(table))

    def published_key(self, table: str) -> str:
        """The key of this volume's published rows of a table; `fields` has one file per run."""
        folder = f"{table}/schema={self.run_info.schema}" if table in BY_SCHEMA else table
        name = self.run_info.run if self.number == 1 or table == "fields" else f"{self.run_info.run}-{self.number}"
        return f"{folder}/run_date={self.run_info.run_date}/{name}.parquet"

    def list_parts(self, table: str) -> list[str]:
        """The staged parts of a table, in order."""
        return self.output.list_files(self.folder, f"{table}-*.parquet")

    def part_key(self, table: str, part: PartId) -> str:
        """The key of a staged part of a table."""
        return f"{self.folder}/{table}-{part.number:06d}.parquet"

    def scan(self, table: str) -> pl.LazyFrame:
        """The published or staged rows of a table that is not divided by schema."""
        files = self._list_files(table)
        return self.output.scan(files, _COLUMNS[table]) if files else pl.LazyFrame(schema=_COLUMNS[table])

    def scan_results(self) -> pl.LazyFrame | None:
        """The published or staged rows of results; None where there are none."""
        files = self._list_files("results")
        return self.output.scan(files) if files else None

    def called_documents(self) -> set[str]:
        """The documents that were called, published or staged; an audit calls those of earlier volumes, too."""
        return set(self._scan_called().collect()["document"])

    def staged_documents(self, shard: int) -> set[Name]:
        """The documents, with versions, that all attempts at a shard have staged."""
        documents: set[Name] = set()
        for table, names in (("results", ("_document", "_version")), ("failures", ("document", "version"))):
            parts = [part for part in self.list_parts(table) if PartId.parse(part).shard == shard]
            documents.update(self.output.scan(parts).select(names).collect().rows() if parts else [])
        return documents

    def drop_torn_images(self, ended: Collection[Name], shard: int | None = None) -> None:
        """Remove images of documents that are not in `ended` from all staged parts, or from those of a shard.

        A process killed between two tables of a part leaves such rows; those documents are staged again or remain.
        """
        documents = {document for document, _ in ended}
        for part in self.list_parts("images"):
            if shard is None or PartId.parse(part).shard == shard:
                images = self.output.scan([part]).collect()
                torn = {each for each in images["document"].unique() if each not in documents}
                if torn:
                    self.output.write(part, images.filter(~pl.col("document").is_in(list(torn))))

    def replace_evidence(self, cells: Mapping[str, list[Row]]) -> None:
        """Gives the staged rows of these documents other evidence."""
        dtype = columns.RESULTS["_evidence"]
        for part in self.list_parts("results") if cells else ():
            names = self.output.scan([part]).select("_document").collect()["_document"]
            if not any(name in cells for name in names):
                continue
            rows = self.output.scan([part]).collect()
            pairs = zip(rows["_document"], rows["_evidence"].to_list(), strict=True)
            evidence = pl.Series([cells.get(name, known) for name, known in pairs], dtype=dtype)
            self.output.write(part, rows.with_columns(_evidence=evidence))

    def scan_finished(self) -> pl.LazyFrame:
        """`document` and `version` of the finished documents, published or staged."""
        files, names = self._list_files("results"), {"_document": "document", "_version": "version"}
        results = [self.output.scan(files).select(list(names)).rename(names)] if files else []
        return pl.concat([*results, self.scan("failures").select("document", "version")])

    def unfinished_documents(self) -> set[str]:
        """The documents that were called and not finished."""
        return set(
            self._scan_called().unique().join(self.scan_finished(), on="document", how="anti").collect()["document"]
        )

    def _scan_called(self) -> pl.LazyFrame:
        return self.scan("calls").filter(~columns.AUDIT_CALL).select("document")

    def finished_documents(self) -> set[Name]:
        """The finished documents with their versions, published or staged."""
        files = self._list_files("results")
        accepted = self.output.scan(files).select("_document", "_version").collect().rows() if files else []
        return {*accepted, *self.scan("failures").select("document", "version").collect().rows()}

    def copied_documents(self) -> set[Name]:
        """The finished documents whose row in results is a copy."""
        files = self._list_files("results")
        copies = self.output.scan(files).filter(pl.col("_copied_from").is_not_null()) if files else None
        return set(copies.select("_document", "_version").collect().rows()) if copies is not None else set()

    def done_documents(self) -> set[Name]:
        """The finished documents that are done: accepted, or failed for good."""
        failures = self.scan("failures").filter(~pl.col("final")).select("document", "version").collect().rows()
        return self.finished_documents() - set(failures)

    def stage(self, table: str, part: PartId, rows: Sequence[Row], schema: Columns | None = None) -> None:
        """Write rows atomically as one part of a table; without rows no part is written."""
        if not rows:
            return
        with writing(self.output):
            self.output.write(self.part_key(table, part), build_frame(rows, schema or _COLUMNS[table]))

    def stage_calls(self, batches: Iterable[Sequence[Row]], keep: Keep) -> None:
        """Stage calls of the ledger, and the replies selected by `keep`."""
        for part, batch in enumerate(batches):
            self.stage("calls", PartId(part), [call_row(call, self.run_info) for call in batch])
            self.stage("replies", PartId(part), [reply_row(call) for call in batch if is_kept(call, keep)])

    def stage_fields(self, results: Sequence[str] = ()) -> list[Row]:
        """Stage the field statistics over these files and the volume's own results; returns the rows."""
        with writing(self.output):
            files = [*results, *self.list_parts("results")]
            if not files:
                return []
            scanned = scan_results(self.output, files)
            names = [name for name in scanned.collect_schema() if name not in columns.RESULTS]
            rows = field_rows(scanned, names, self.run_info.run, self.run_info.schema)
        self.stage("fields", PartId(0), rows)
        return rows

    def publish(self) -> None:
        """Merge the staged parts into one file per table, `runs` last; then write the views and remove the parts."""
        with writing(self.output):
            for table in PUBLISHED:
                parts = self.list_parts(table)
                if parts or table in ALWAYS:
                    self._publish_table(table, parts)
            write_views(self.output)
        self.remove_parts()

    def remove_parts(self) -> None:
        """Remove the staged parts of a committed volume."""
        with writing(self.output):
            self.output.remove_folder(self.folder)

    def _list_files(self, table: str) -> list[str]:
        return [self.published_key(table)] if self.committed and self.is_published(table) else self.list_parts(table)

    def _publish_table(self, table: str, parts: list[str]) -> None:
        if not parts:
            rows: pl.DataFrame | pl.LazyFrame = pl.DataFrame(schema=_COLUMNS[table])
        else:
            rows = scan_results(self.output, parts) if table == "results" else self.output.scan(parts, _COLUMNS[table])
        self.output.write(self.published_key(table), rows, scratch=f"{self.folder}/folded-{table}")


def scan_results(output: Output, files: Sequence[str]) -> pl.LazyFrame:
    """Rows of results of one run; what an earlier version wrote of it lacks the columns that are new."""
    first = output.scan(files[:1]).collect_schema()
    return output.scan(files, {**first, **columns.RESULTS})


def list_volumes(output: Output, run_info: RunInfo) -> list[Volume]:
    """The staged volumes of a run, in order."""
    names = output.list_folders(f"{STAGING}/{run_info.run}")
    return [Volume(output, run_info, int(name)) for name in names if name.isdigit()]
