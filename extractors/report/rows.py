"""The published rows of one schema, from the newest run to the oldest: the current row of each document, or every row.

Keys are read first, and of the chosen rows only those that are asked for, block by block: the first rows of a million
come within two seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.errors import ConfigurationError, suggest_name
from extractors.record.output.base import reading
from extractors.record.tables import columns
from extractors.record.tables.current import KEYS, keep_current
from extractors.record.tables.history import DAYS
from extractors.report.lookup import SCHEMA_FOLDER, choose_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extractors.record.output.base import Output
    from extractors.record.tables.truth import TruthLine

BLOCK = 10_000  # rows that are read at once
_POSITIONS = ("_document", "file", "row")


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows are chosen: of one run or of all, the current row of each document or every row."""

    run: str | None = None
    every: bool = False
    limit: int | None = None


class ResultRows:
    """The chosen rows of one schema. Its methods raise ConfigurationError for an output that cannot be read."""

    def __init__(self, output: Output, schema: str, chosen: RowFilter) -> None:
        """Lists the files and reads the columns. Raises ConfigurationError where there is no row to choose from."""
        self._output, self.schema, self._filter = output, schema, chosen
        with reading(output):
            files = output.list_files(f"results/{SCHEMA_FOLDER}{schema}", DAYS)
        self._files = _sort_newest_first(file for file in files if chosen.run in {None, _run_of(file)})
        if not self._files:
            known = sorted({_run_of(file) for file in files})
            example = f": the last run that did is {known[-1]}" if known else ""
            raise ConfigurationError(f"run {chosen.run!r} has no rows of {schema} in {output}{example}")
        with reading(output):
            types = output.scan([max(files, key=_run_of)]).collect_schema()
        self.columns: columns.Columns = dict(types)
        self.fields = {name: dtype for name, dtype in self.columns.items() if name not in columns.RESULTS}
        self._positions: pl.DataFrame | None = None
        self._corrections: dict[str, dict[str, object]] = {}

    def check_columns(self, names: Sequence[str]) -> list[str]:
        """The names as a list. Raises ConfigurationError for a column that the schema does not have."""
        for name in names:
            if name not in self.columns:
                hint = suggest_name(name, self.columns) or f": the fields are {', '.join(self.fields)}"
                raise ConfigurationError(f"unknown column {name!r} of {self.schema}{hint}")
        return list(names)

    def correct(self, lines: Iterable[TruthLine]) -> list[str]:
        """Apply these corrections to all rows that are read from now on; later lines count.

        Returns the documents without a row. Raises ConfigurationError for a field or a value that does not fit, and for
        a name that fits several documents.
        """
        named = {line.document: line for line in lines}
        found = _match_documents(self._read_positions()["_document"].unique(), named)
        for line in lines:
            cells = line.cells(self.fields)
            if line.document in found:
                self._corrections.setdefault(found[line.document], {}).update(cells)
        return [name for name in named if name not in found]

    def count(self) -> int:
        """The number of the chosen rows, without the limit."""
        if not self._filter.every:
            return self._read_positions().height
        with reading(self._output):
            return sum(self._output.map_files(self._count_rows, self._files))

    def frames(self, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The chosen rows up to the limit, with these columns."""
        wanted = {name: self.columns[name] for name in dict.fromkeys([*names, "_document"])}
        with reading(self._output):
            for file, start, rows in self._iter_blocks():
                frame = self._output.scan([file], wanted).slice(start, rows[-1] + 1).collect()[rows]
                yield self._apply_corrections(frame).select(names)

    def _iter_blocks(self) -> Iterator[tuple[str, int, list[int]]]:
        """The file, the start and the rows after it of each block, as many as the limit allows."""
        left = self._filter.limit
        for number, file in enumerate(self._files):
            if left == 0:
                return
            for start, rows in self._blocks_of(number, file, left):
                left = None if left is None else left - len(rows)
                yield file, start, rows

    def _blocks_of(self, number: int, file: str, limit: int | None) -> Iterator[tuple[int, list[int]]]:
        if self._filter.every:
            chosen = pl.int_range(self._count_rows(file), eager=True)
        else:
            chosen = self._read_positions().filter(pl.col("file") == number)["row"].cast(pl.Int64)
        chosen = chosen if limit is None else chosen.head(limit)
        for block in chosen.to_frame("row").group_by(pl.col("row") // BLOCK, maintain_order=True):
            rows = block[1]["row"]
            start = int(rows[0])
            yield start, (rows - start).to_list()

    def _read_positions(self) -> pl.DataFrame:
        """The document, file and row of each chosen row, read once."""
        if self._positions is None:
            numbers = {file: number for number, file in enumerate(self._files)}
            with reading(self._output):
                parts = self._output.map_files(lambda file: self._read_keys(file, numbers[file]), self._files)
                keys = pl.concat(list(parts)).lazy()
                chosen = keys if self._filter.every else keep_current(keys)
                self._positions = chosen.select(*_POSITIONS).collect()
        return self._positions

    def _read_keys(self, file: str, number: int) -> pl.DataFrame:
        keys = self._output.scan([file], KEYS).with_row_index("row")
        return keys.with_columns(file=pl.lit(number, dtype=pl.UInt32)).collect()

    def _count_rows(self, file: str) -> int:
        return int(self._output.scan([file]).select(pl.len()).collect().item())

    def _apply_corrections(self, frame: pl.DataFrame) -> pl.DataFrame:
        rows = [(row, name) for row, name in enumerate(frame["_document"]) if name in self._corrections]
        if not rows:
            return frame
        changed = {field for _, name in rows for field in self._corrections[name] if field in frame.columns}
        for field in changed:
            values = frame[field].to_list()
            for row, name in rows:
                values[row] = self._corrections[name].get(field, values[row])
            frame = frame.with_columns(pl.Series(field, values, dtype=frame.schema[field]))
        return frame


def open_rows(output: Output, schema: str | None, chosen: RowFilter) -> ResultRows:
    """The rows of this schema, or of the only one. Raises ConfigurationError with the names that exist."""
    with reading(output):
        names = [
            name.removeprefix(SCHEMA_FOLDER)
            for name in output.list_folders("results")
            if name.startswith(SCHEMA_FOLDER)
        ]
        if chosen.run is not None and schema is None:  # a run has one schema
            files = {
                name: output.list_files(f"results/{SCHEMA_FOLDER}{name}", f"run_date=*/{chosen.run}*.parquet")
                for name in names
            }
            names = [name for name, listed in files.items() if chosen.run in map(_run_of, listed)] or names
    return ResultRows(output, choose_schema(str(output), names, schema), chosen)


def _match_documents(documents: pl.Series, named: Mapping[str, object]) -> dict[str, str]:
    """The document of each name: the one of this very name, else the one whose path ends with it."""
    found = {name: name for name in documents.filter(documents.is_in(list(named)))}
    for depth in {name.count("/") + 1 for name in named if name not in found}:
        ends = documents.str.split("/").list.tail(depth).list.join("/")
        wanted = [name for name in named if name not in found]
        for end, document in zip(*(each.filter(ends.is_in(wanted)) for each in (ends, documents)), strict=True):
            if found.setdefault(end, document) != document:
                raise ConfigurationError(f"{end!r} names several documents, {document!r} among them: write it whole")
    return found


def _sort_newest_first(files: Iterable[str]) -> list[str]:
    """By run, the newest first; the volumes of a run from the first on."""
    return sorted(sorted(files, key=lambda file: (len(file), file)), key=_run_of, reverse=True)


def _run_of(file: str) -> str:
    """The run of a published file `<run>[-<volume>].parquet`."""
    stem = file.rpartition("/")[2].removesuffix(".parquet")
    return re.sub(r"^(\d{8}T\d{6}Z-[0-9a-f]{4})-\d+$", r"\1", stem)
