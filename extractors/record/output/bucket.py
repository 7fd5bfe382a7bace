"""An output root in a bucket: obstore lists, puts and deletes; polars reads, and fetches only the columns asked for."""

from __future__ import annotations

import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from extractors.core.buckets.aws import read_profile
from extractors.core.buckets.client import ERRORS, QUICK_RETRY, open_bucket, translate_errors
from extractors.core.buckets.errors import explain_error
from extractors.record.output.base import LEAST_FREE, Output, T, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import polars as pl

    from extractors.core.buckets import BucketLocation
    from extractors.core.buckets.errors import Operation

READERS = 8  # files that are read at once
_PROBE = "begun"


class BucketOutput(Output):
    """An output root in a bucket. A file appears when its upload is complete, a folder with the first file in it."""

    def __init__(self, where: BucketLocation) -> None:
        """Nothing is sent yet. Raises ConfigurationError for what is missing or wrong in the environment."""
        super().__init__(where.url)
        self._where = where
        self._store, self._patient = (
            open_bucket(where, QUICK_RETRY),
            open_bucket(where),
        )  # quick until something was answered
        self._options = (read_profile() if where.scheme == "s3" else None) or None

    def each(self, read: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
        """See Root. Several at once: a file is some requests, and each of them is waited for."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="tables") as threads:
            yield from threads.map(read, keys)

    def files(self, folder: str, pattern: str) -> list[str]:
        """See Root."""
        wanted = pattern.split("/")
        return [key for key in self._below(folder) if _matches(key.removeprefix(f"{folder}/").split("/"), wanted)]

    def folders(self, folder: str) -> list[str]:
        """See Root."""
        with self._heard():
            listed = obstore.list_with_delimiter(self._store, self._at(folder))
        return sorted(each.rstrip("/").rpartition("/")[2] for each in listed["common_prefixes"])

    def exists(self, key: str) -> bool:
        """See Root."""
        with self._heard():
            try:
                obstore.head(self._store, self._at(key))
            except FileNotFoundError:
                return False
        return True

    def begin(self, folder: str, tables: Sequence[str]) -> None:  # noqa: ARG002 - who may write one may write all
        """See Root. There are no empty folders: that one object can be written and deleted is what is seen."""
        probe = self._at(f"{folder}/{_PROBE}")
        with translate_errors(self._where, "written"):
            obstore.put(self._store, probe, b"")
            obstore.delete(self._store, probe)

    def write(self, key: str, rows: pl.DataFrame | pl.LazyFrame, scratch: str | None = None) -> None:  # noqa: ARG002
        """See Root. A large file goes up in parts, of which nobody sees any before the last."""
        with tempfile.TemporaryDirectory(prefix="tilewise-") as folder:
            local = Path(folder, "rows.parquet")
            write_parquet(rows, local)
            with self._heard():
                obstore.put(self._store, self._at(key), local)

    def write_page(self, key: str, text: str) -> None:
        """See Root. A browser that opens it there is told that it is a page."""
        with self._heard():
            obstore.put(
                self._store, self._at(key), text.encode(), attributes={"Content-Type": "text/html; charset=utf-8"}
            )

    def remove(self, folder: str) -> None:
        """See Root. Whoever finishes the same volume may have been quicker."""
        keys = [self._at(key) for key in self._below(folder)]
        with self._heard():
            try:
                obstore.delete(self._store, keys)
            except FileNotFoundError:
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._store, key)

    def tidy(self, folder: str) -> None:
        """See Root: there are no empty folders."""

    def refusal(self, error: Exception, act: Operation) -> str:
        """See Root. The request that failed says what was to be done: what is published is read first."""
        text, spool = str(error), tempfile.gettempdir()
        if shutil.disk_usage(spool).free < LEAST_FREE:
            return f"cannot be {act}: the disk of {spool} is full, where a table is put together before it is sent"
        if "list request" in text:
            act = "listed"
        elif re.search(r"performing (GET|HEAD) ", text):
            act = "read"
        return explain_error(error, self._where.scheme, act)

    def _below(self, folder: str) -> list[str]:
        """Every key below a folder, sorted."""
        start = len(self._at(""))
        with self._heard():
            pages = obstore.list(self._store, self._at(folder))
            return sorted(meta["path"][start:] for page in pages for meta in page)

    def _at(self, key: str) -> str:
        """The key in the bucket."""
        return f"{self._where.prefix}/{key}" if self._where.prefix else key

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """What obstore raises is an OSError, as what polars and disks raise."""
        try:
            yield
        except ERRORS as error:
            raise OSError(str(error)) from error
        self._store = self._patient


def _matches(parts: list[str], pattern: list[str]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
