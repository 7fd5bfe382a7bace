"""An output in a folder of this machine: files appear by an atomic rename."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError, first_line
from extractors.record.output.base import MIN_FREE_BYTES, Output, write_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from extractors.core.buckets.errors import Operation


class FolderOutput(Output):
    """An output root on this machine."""

    def __init__(self, path: Path) -> None:
        """The folder may not exist yet."""
        super().__init__(str(path))
        self._path = path

    def list_files(self, folder: str, pattern: str) -> list[str]:
        """See Output."""
        files = (path for path in (self._path / folder).glob(pattern) if path.is_file())
        return sorted(path.relative_to(self._path).as_posix() for path in files)

    def list_folders(self, folder: str) -> list[str]:
        """See Output."""
        path = self._path / folder
        return sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []

    def exists(self, key: str) -> bool:
        """See Output."""
        return (self._path / key).exists()

    def create_staging(self, folder: str, tables: Sequence[str]) -> None:
        """See Output."""
        try:
            (self._path / folder).mkdir(parents=True)
            for table in tables:
                (self._path / table).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"output {str(self)!r} cannot be written: {error.strerror}") from error

    def write(self, key: str, rows: pl.DataFrame | pl.LazyFrame, scratch: str | None = None) -> None:
        """See Output."""
        with self._replace_file(key, scratch) as temporary:
            write_parquet(rows, temporary)

    def write_page(self, key: str, text: str) -> None:
        """See Output."""
        self.write_text(key, text)

    def write_text(self, key: str, text: str) -> None:
        """See Output."""
        with self._replace_file(key) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @contextmanager
    def _replace_file(self, key: str, scratch: str | None = None) -> Iterator[Path]:
        """Yield a temporary path; on success the file there replaces the one under the key."""
        target = self._path / key
        temporary = self._path / scratch if scratch else target.with_suffix(".part")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, target)  # noqa: PTH105 - the atomic rename is the point

    def remove_file(self, key: str) -> None:
        """See Output."""
        (self._path / key).unlink(missing_ok=True)
        self.remove_empty(key.rpartition("/")[0])

    def remove_folder(self, folder: str) -> None:
        """See Output."""
        shutil.rmtree(self._path / folder)
        self.remove_empty(folder)

    def remove_empty(self, folder: str) -> None:
        """See Output."""
        path = self._path / folder
        for parent in (path, *path.parents[: len(Path(folder).parts) - 1]):
            with suppress(OSError):  # not empty, or removed by another process
                parent.rmdir()

    def describe_error(self, error: Exception, act: Operation) -> str:
        """See Output. polars does not report a full disk."""
        full = act == "written" and shutil.disk_usage(self._path).free < MIN_FREE_BYTES
        return f"cannot be {act}: " + (f"its disk is full ({first_line(error)})" if full else first_line(error))
