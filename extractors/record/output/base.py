"""Where the tables lie: one interface, by keys such as `runs/run_date=2026-11-20/x.parquet`, to a folder or a bucket."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from extractors.core.buckets import is_bucket_url, parse_location
from extractors.core.errors import ConfigurationError, OutputError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from extractors.core.buckets.errors import Operation
    from extractors.record.tables.columns import Columns

T = TypeVar("T")
TROUBLE = (OSError, pl.exceptions.PolarsError)  # whatever a root raises, and a frame that it has scanned
ROWS = 5_000  # of a group, held at once where many parts are folded into one file
LEAST_FREE = 2**18  # bytes: with less a disk is full


class Output(ABC):
    """An output root. What it cannot read or write is raised as one of TROUBLE; `str` gives its name."""

    _options: dict[str, str] | None = None  # how polars signs in

    def __init__(self, name: str) -> None:
        """`name` as in the column `output`."""
        self._name = name

    def __str__(self) -> str:
        return self._name

    def full(self, key: str) -> str:
        """The key as it is named outside of this root."""
        return f"{self._name}/{key}"

    def scan(self, keys: Iterable[str], wanted: Columns | None = None) -> pl.LazyFrame:
        """The rows of these files. `wanted`: these columns, whatever else there is; null where an older file lacks one."""
        return pl.scan_parquet(
            [self.full(key) for key in keys],
            schema=wanted,
            extra_columns="ignore" if wanted else "raise",
            missing_columns="insert" if wanted else "raise",
            hive_partitioning=False,
            glob=False,
            storage_options=self._options,
            credential_provider=None,
        )

    def each(self, read: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
        """What `read` makes of each of these files, in their order."""
        return map(read, keys)

    @abstractmethod
    def files(self, folder: str, pattern: str) -> list[str]:
        """The keys below a folder that match a pattern, sorted; `*` matches within one part of a key."""

    @abstractmethod
    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder, sorted."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is a file of this name."""

    @abstractmethod
    def begin(self, folder: str, tables: Sequence[str]) -> None:
        """Makes a folder to stage in. Raises ConfigurationError where it or these tables cannot be written."""

    @abstractmethod
    def write(self, key: str, rows: pl.DataFrame | pl.LazyFrame, scratch: str | None = None) -> None:
        """Writes rows so that they appear whole; until then they may be seen under the key `scratch`."""

    @abstractmethod
    def write_page(self, key: str, text: str) -> None:
        """Writes a page of HTML so that it appears whole."""

    @abstractmethod
    def remove(self, folder: str) -> None:
        """Takes away a folder with all that is in it."""

    @abstractmethod
    def tidy(self, folder: str) -> None:
        """Takes away a folder, and those around it, as far as they are empty."""

    @abstractmethod
    def refusal(self, error: Exception, act: Operation) -> str:
        """Why this was not to be done, to be read after the root's name."""


class Folder(Output):
    """An output root on this machine."""

    def __init__(self, path: Path) -> None:
        """The folder need not be there yet."""
        super().__init__(str(path))
        self._path = path

    def files(self, folder: str, pattern: str) -> list[str]:
        """See Root."""
        found = (path for path in (self._path / folder).glob(pattern) if path.is_file())
        return sorted(path.relative_to(self._path).as_posix() for path in found)

    def folders(self, folder: str) -> list[str]:
        """See Root."""
        path = self._path / folder
        return sorted(each.name for each in path.iterdir() if each.is_dir()) if path.is_dir() else []

    def exists(self, key: str) -> bool:
        """See Root."""
        return (self._path / key).exists()

    def begin(self, folder: str, tables: Sequence[str]) -> None:
        """See Root."""
        try:
            (self._path / folder).mkdir(parents=True)
            for table in tables:
                (self._path / table).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"output {str(self)!r} cannot be written: {error.strerror}") from error

    def write(self, key: str, rows: pl.DataFrame | pl.LazyFrame, scratch: str | None = None) -> None:
        """See Root."""
        with self._appearing(key, scratch) as beside:
            write_parquet(rows, beside)

    def write_page(self, key: str, text: str) -> None:
        """See Root."""
        with self._appearing(key) as beside:
            beside.write_text(text, encoding="utf-8")

    @contextmanager
    def _appearing(self, key: str, scratch: str | None = None) -> Iterator[Path]:
        """Where a file is written that then appears whole under its key."""
        target = self._path / key
        beside = self._path / scratch if scratch else target.with_suffix(".part")
        beside.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(beside, target)  # noqa: PTH105 - the atomic rename is the point

    def remove(self, folder: str) -> None:
        """See Root."""
        shutil.rmtree(self._path / folder)
        self.tidy(folder)

    def tidy(self, folder: str) -> None:
        """See Root."""
        path = self._path / folder
        for emptied in (path, *path.parents[: len(Path(folder).parts) - 1]):
            with suppress(OSError):  # not empty, or gone
                emptied.rmdir()

    def refusal(self, error: Exception, act: Operation) -> str:
        """See Root. polars does not say why it could not write."""
        full = act == "written" and shutil.disk_usage(self._path).free < LEAST_FREE
        return f"cannot be {act}: " + (f"its disk is full ({first_line(error)})" if full else first_line(error))


def open_output(name: str) -> Output:
    """The root of this name, absolute already. Raises ConfigurationError for what a bucket lacks in the environment."""
    if is_bucket_url(name):
        from extractors.record.output.bucket import BucketOutput  # noqa: PLC0415 - 40 ms that a folder need not wait for

        return BucketOutput(parse_location(name, "output"))
    return Folder(Path(name))


def write_parquet(rows: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Rows as a file of this machine, compressed as every table is."""
    if isinstance(rows, pl.DataFrame):
        rows.write_parquet(path, compression="zstd")
    else:
        rows.sink_parquet(path, compression="zstd", row_group_size=ROWS)


@contextmanager
def reading(output: Output) -> Iterator[None]:
    """Raises ConfigurationError for what cannot be read."""
    try:
        yield
    except TROUBLE as error:
        raise ConfigurationError(f"output {str(output)!r} {output.refusal(error, 'read')}") from error


@contextmanager
def writing(output: Output) -> Iterator[None]:
    """Raises OutputError for what cannot be written, or read again to be published; says what is kept."""
    try:
        yield
    except TROUBLE as error:
        kept = "what was answered is in the ledger, and the next run publishes it"
        raise OutputError(f"output {str(output)!r} {output.refusal(error, 'written')}; {kept}") from error
