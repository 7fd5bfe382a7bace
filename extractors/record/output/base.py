"""The interface of an output: files by keys such as `runs/run_date=2026-11-20/x.parquet`, in a folder or a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from extractors.core.errors import ConfigurationError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from extractors.core.buckets.errors import Operation
    from extractors.record.tables.columns import Columns

T = TypeVar("T")
OUTPUT_ERRORS = (OSError, pl.exceptions.PolarsError)  # raised by an output, and by frames that it has scanned
ROW_GROUP_SIZE = 5_000  # rows; bounds the memory of folding many parts into one file
MIN_FREE_BYTES = 2**18  # a disk with less free space counts as full


class Output(ABC):
    """An output root. Its methods raise one of OUTPUT_ERRORS on a failed read or write; `str` gives its name."""

    _options: dict[str, str] | None = None  # polars' storage options: how to sign in

    def __init__(self, name: str) -> None:
        """`name` is the value of the column `output`."""
        self._name = name

    def __str__(self) -> str:
        return self._name

    def full_name(self, key: str) -> str:
        """The path or URL of a key."""
        return f"{self._name}/{key}"

    def scan(self, keys: Iterable[str], wanted: Columns | None = None) -> pl.LazyFrame:
        """The rows of these files. `wanted` selects columns: others are ignored, missing ones are filled with nulls."""
        return pl.scan_parquet(
            [self.full_name(key) for key in keys],
            schema=wanted,
            extra_columns="ignore" if wanted else "raise",
            missing_columns="insert" if wanted else "raise",
            hive_partitioning=False,
            glob=False,
            storage_options=self._options,
            credential_provider=None,
        )

    def map_files(self, read: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
        """Call `read` with each key; yields the results in the order of the keys."""
        return map(read, keys)

    @abstractmethod
    def list_files(self, folder: str, pattern: str) -> list[str]:
        """The sorted keys below a folder that match a pattern; `*` matches within one part of a key."""

    @abstractmethod
    def list_folders(self, folder: str) -> list[str]:
        """The sorted names of the folders in a folder."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether a file with this key exists."""

    @abstractmethod
    def create_staging(self, folder: str, tables: Sequence[str]) -> None:
        """Create a staging folder. Raises ConfigurationError if it or one of the tables cannot be written."""

    @abstractmethod
    def write(self, key: str, rows: pl.DataFrame | pl.LazyFrame, scratch: str | None = None) -> None:
        """Write rows atomically. An unfinished file may be visible under the key `scratch`."""

    @abstractmethod
    def write_page(self, key: str, text: str) -> None:
        """Write an HTML page atomically."""

    @abstractmethod
    def write_text(self, key: str, text: str) -> None:
        """Write a text file atomically."""

    @abstractmethod
    def remove_file(self, key: str) -> None:
        """Delete a file, which may be gone already, and folders that are empty then."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Delete a folder and its content."""

    @abstractmethod
    def remove_empty(self, folder: str) -> None:
        """Delete a folder and its parents below the output root, as long as they are empty."""

    @abstractmethod
    def describe_error(self, error: Exception, act: Operation) -> str:
        """The reason for a failed read or write, to follow the output's name in a message."""


def write_parquet(rows: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write rows to a local file with the compression of all tables."""
    if isinstance(rows, pl.DataFrame):
        rows.write_parquet(path, compression="zstd")
    else:
        rows.sink_parquet(path, compression="zstd", row_group_size=ROW_GROUP_SIZE)


@contextmanager
def reading(output: Output) -> Iterator[None]:
    """Raise a failed read as ConfigurationError."""
    try:
        yield
    except OUTPUT_ERRORS as error:
        raise ConfigurationError(f"output {str(output)!r} {output.describe_error(error, 'read')}") from error


@contextmanager
def writing(output: Output) -> Iterator[None]:
    """Raise a failed write, or a failed read while publishing, as OutputError that says what is kept."""
    try:
        yield
    except OUTPUT_ERRORS as error:
        kept = "all answers received so far are kept in the ledger, and the next run publishes them"
        raise OutputError(f"output {str(output)!r} {output.describe_error(error, 'written')}; {kept}") from error
