"""An index of the rows that can be copied, by key: rows of earlier runs, and the run's own.

It keeps 60 bits of a row's key and its position, 24 bytes per published row; rows are read back on demand.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from extractors.core.errors import OutputError
from extractors.record.output.base import OUTPUT_ERRORS
from extractors.record.tables import columns
from extractors.record.tables.history import DAYS, OFFLINE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from extractors.record.tables.rows import Row
    from extractors.record.tables.volume import PartId, Volume
    from extractors.record.tables.writer import Tables

DIGITS = 15  # hexadecimal digits of a key: 60 bits
BLOCK, BLOCKS = 5_000, 4  # rows per read, which cost as much as one; cached blocks
BATCH = 50_000  # numbers converted to Python objects at once
TABLES = ("results", "failures")
_PLACES: columns.Columns = {"bits": columns.INT, "file": pl.UInt32(), "row": pl.UInt32()}


class RowPlace(NamedTuple):
    """The position of a row: its file and its number there. `failed`: it is a row of failures, which have no key."""

    file: str
    row: int
    failed: bool


class RowIndex:
    """The positions of the rows of one schema that are not copies. Only `read_row` and `load_published` are thread-safe.

    A million published rows take 24 MB (benchmarks/skip_decision.py). Two keys share 60 bits with a probability of 10^-18; a row
    of results is compared by its whole key when it is read.
    """

    def __init__(self, tables: Tables, *, earlier: bool, offline: bool, since: datetime | None = None) -> None:
        """`earlier`: include rows of earlier runs, `since`: those of this time or later; `offline`: also rows read offline."""
        self._tables, self._offline, self._since = tables, offline, since
        self._volume: Volume = tables.volume  # the volume of `_staged`
        self._staged: dict[int, tuple[str, PartId, int]] = {}  # table, part and row
        self._heights: dict[str, dict[PartId, int]] = {table: {} for table in TABLES}  # by part
        self._files: list[tuple[str, bool]] = []
        self._published = pl.DataFrame(schema=_PLACES)  # sorted by bits; rows of one key in the order of publication
        self._bits = array("q")  # a copy of that column, which is 20 times as fast to search
        self._blocks: OrderedDict[tuple[str, int], pl.DataFrame] = OrderedDict()
        self._reading = threading.Lock()
        self.loaded = not earlier

    def load_published(self) -> None:
        """Read the keys of the published rows of earlier runs; call it in a thread. Raises OutputError."""
        output, schema = self._tables.output, self._tables.volume.run_info.schema
        try:
            files = output.list_files(f"results/schema={schema}", DAYS)
            numbers = {file: number for number, file in enumerate(files, len(self._files))}
            parts = list(output.map_files(lambda file: self._read_keys(file, numbers[file]), files))
        except OUTPUT_ERRORS as error:
            raise OutputError(f"output {str(output)!r} {output.describe_error(error, 'read')}") from error
        self._files += [(file, False) for file in files]
        self._append_published(parts)
        self.loaded = True

    def find(self, key: str) -> RowPlace | None:
        """The position of the row with this key; None if no row has it."""
        self._follow_volume()
        bits = int(key[:DIGITS], 16)
        if (staged := self._staged.get(bits)) is not None:
            table, part, row = staged
            return RowPlace(self._volume.part_key(table, part), row, table == "failures")
        at = bisect_right(self._bits, bits) - 1  # the latest of several rows with one key
        if at < 0 or self._bits[at] != bits:
            return None
        _, number, row = self._published.row(at)
        file, failed = self._files[number]
        return RowPlace(file, row, failed)

    def read_row(self, place: RowPlace, key: str) -> Row | None:
        """The row at this position with the current columns; None if it has another key or cannot be read."""
        number, at = divmod(place.row, BLOCK)
        wanted = columns.FAILURES if place.failed else self._tables.result_columns
        with self._reading, suppress(*OUTPUT_ERRORS):
            row = self._read_block(place.file, number, wanted).row(at, named=True)
            return row if place.failed or row["_key"] == key else None
        return None

    def add(self, key: str, table: str, part: PartId, row: int) -> None:
        """Add a staged row of the current volume."""
        self._follow_volume()
        self._staged[int(key[:DIGITS], 16)] = (table, part, row)

    def note_staged(self, part: PartId, heights: Mapping[str, int]) -> None:
        """Note a staged part with its number of rows per table, copies included."""
        self._follow_volume()
        for table, height in heights.items():
            self._heights[table][part] = height

    def _follow_volume(self) -> None:
        """After a volume was published, move its rows to their positions in the published files."""
        before = self._volume
        if before is self._tables.volume:
            return
        for table in TABLES:
            first = _first_rows(self._heights[table])
            rows = [
                (bits, len(self._files), first[part] + row)
                for bits, (in_table, part, row) in self._staged.items()
                if in_table == table
            ]
            self._files.append((before.published_key(table), table == "failures"))
            self._append_published([pl.DataFrame(rows, schema=_PLACES, orient="row")])
        self._volume, self._staged, self._heights = self._tables.volume, {}, {table: {} for table in TABLES}

    def _append_published(self, parts: list[pl.DataFrame]) -> None:
        self._published = pl.concat([self._published, *parts], rechunk=True).sort("bits", maintain_order=True)
        self._bits = array("q")
        for some in self._published.iter_slices(BATCH):
            self._bits.extend(some["bits"].to_list())

    def _read_keys(self, file: str, number: int) -> pl.DataFrame:
        wanted = {name: columns.RESULTS[name] for name in ("_key", "_model", "_copied_from", "_extracted_at")}
        rows = self._tables.output.scan([file], wanted).with_row_index("row")
        original = pl.col("_copied_from").is_null()
        if not self._offline:
            original &= ~pl.col("_model").str.starts_with(OFFLINE)
        if self._since is not None:
            original &= pl.col("_extracted_at") >= self._since
        bits = pl.col("_key").str.head(DIGITS).str.to_integer(base=16, dtype=pl.Int64)
        keys = rows.filter(original).select(bits=bits, file=pl.lit(number, dtype=pl.UInt32), row="row")
        return keys.collect(engine="streaming")

    def _read_block(self, file: str, number: int, wanted: columns.Columns) -> pl.DataFrame:
        if (file, number) not in self._blocks:
            rows = self._tables.output.scan([file], wanted).slice(number * BLOCK, BLOCK)
            self._blocks[file, number] = rows.collect()
        self._blocks.move_to_end((file, number))
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[file, number]


def _first_rows(heights: Mapping[PartId, int]) -> dict[PartId, int]:
    """The row number of each part's first row in the published file."""
    firsts: dict[PartId, int] = {}
    total = 0
    for part in sorted(heights, key=lambda part: part.number):
        firsts[part] = total
        total += heights[part]
    return firsts
