"""Rows that can be copied, found by their key: those that earlier runs have published, and the run's own.

Kept are 60 bits of a row's key and where it lies, 24 bytes once it is published; the row is read back when it is wanted.
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

    from extractors.record.tables.rows import Row
    from extractors.record.tables.volume import Volume
    from extractors.record.tables.writer import Tables

DIGITS = 15  # of a key, in hexadecimal: 60 bits, which a Python int holds in two pieces
BLOCK, BLOCKS = 5_000, 4  # rows read at once, for one takes as long as all; blocks that are kept
BATCH = 50_000  # numbers that are Python objects for a moment
TABLES = ("results", "failures")
_PLACES: columns.Columns = {"bits": columns.INT, "file": pl.UInt32(), "row": pl.UInt32()}


class Place(NamedTuple):
    """Where a row lies: its file, and its number in it. A row of failures has no key to be told by."""

    file: str
    row: int
    failed: bool


class RowIndex:
    """Where the rows of one schema lie that are no copies themselves. `find` and what adds rows are for one thread.

    A million published rows take 24 MB (benchmarks/past.py). That two keys share 60 bits happens to one pair in 10^18; a row of results is
    compared by its whole key when it is read.
    """

    def __init__(self, tables: Tables, *, earlier: bool, offline: bool) -> None:
        """`earlier`: also those of earlier runs, and if `offline` those that were read offline."""
        self._tables, self._offline = tables, offline
        self._volume: Volume = tables.volume  # the one that `_staged` is of
        self._staged: dict[int, tuple[str, int, int]] = {}  # table, part and row
        self._heights: dict[str, dict[int, int]] = {table: {} for table in TABLES}  # by part
        self._files: list[tuple[str, bool]] = []
        self._published = pl.DataFrame(schema=_PLACES)  # by bits, of one key in the order of publication
        self._bits = array("q")  # the same ones: a search in here takes a twentieth of the time
        self._blocks: OrderedDict[tuple[str, int], pl.DataFrame] = OrderedDict()
        self._reading = threading.Lock()
        self.loaded = not earlier

    def load_published(self) -> None:
        """Reads the keys of what earlier runs have published. Meant for a thread. Raises OutputError."""
        root, terms = self._tables.output, self._tables.volume.run_info
        try:
            files = root.list_files(f"results/schema={terms.schema}", DAYS)
            numbers = {file: number for number, file in enumerate(files, len(self._files))}
            parts = list(root.map_files(lambda file: self._read_keys(file, numbers[file]), files))
        except OUTPUT_ERRORS as error:
            raise OutputError(f"output {str(root)!r} {root.describe_error(error, 'read')}") from error
        self._files += [(file, False) for file in files]
        self._append_published(parts)
        self.loaded = True

    def find(self, key: str) -> Place | None:
        """Where the row of this key lies, if there is one."""
        self._follow_volume()
        bits = int(key[:DIGITS], 16)
        if (staged := self._staged.get(bits)) is not None:
            table, part, row = staged
            return Place(self._volume.part_key(table, part), row, table == "failures")
        at = bisect_right(self._bits, bits) - 1  # of two rows of one key the later counts
        if at < 0 or self._bits[at] != bits:
            return None
        _, number, row = self._published.row(at)
        file, failed = self._files[number]
        return Place(file, row, failed)

    def read_row(self, place: Place, key: str) -> Row | None:
        """The row at this place with today's columns. None if it is not of this key, or cannot be read: it is paid again."""
        number, at = divmod(place.row, BLOCK)
        wanted = columns.FAILURES if place.failed else self._tables.result_columns
        with self._reading, suppress(*OUTPUT_ERRORS):
            row = self._read_block(place.file, number, wanted).row(at, named=True)
            return row if place.failed or row["_key"] == key else None
        return None

    def add(self, key: str, table: str, part: int, row: int) -> None:
        """A row of the volume that is under way has been staged."""
        self._follow_volume()
        self._staged[int(key[:DIGITS], 16)] = (table, part, row)

    def note_staged(self, part: int, heights: Mapping[str, int]) -> None:
        """A part has been staged, with so many rows of each table, copies and all."""
        self._follow_volume()
        for table, height in heights.items():
            self._heights[table][part] = height

    def _follow_volume(self) -> None:
        """Once a volume is published, its rows lie in files that its parts were folded into, in order."""
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
        wanted = {name: columns.RESULTS[name] for name in ("_key", "_model", "_copied_from")}
        rows = self._tables.output.scan([file], wanted).with_row_index("row")
        original = pl.col("_copied_from").is_null()
        if not self._offline:
            original &= ~pl.col("_model").str.starts_with(OFFLINE)
        bits = pl.col("_key").str.head(DIGITS).str.to_integer(base=16, dtype=pl.Int64)
        told = rows.filter(original).select(bits=bits, file=pl.lit(number, dtype=pl.UInt32), row="row")
        return told.collect(engine="streaming")

    def _read_block(self, file: str, number: int, wanted: columns.Columns) -> pl.DataFrame:
        if (file, number) not in self._blocks:
            rows = self._tables.output.scan([file], wanted).slice(number * BLOCK, BLOCK)
            self._blocks[file, number] = rows.collect()
        self._blocks.move_to_end((file, number))
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[file, number]


def _first_rows(heights: Mapping[int, int]) -> dict[int, int]:
    """The number of each part's first row in the file that all parts are folded into."""
    firsts: dict[int, int] = {}
    total = 0
    for part in sorted(heights):
        firsts[part] = total
        total += heights[part]
    return firsts
