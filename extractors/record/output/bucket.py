"""An output in a bucket: obstore lists, puts and deletes; polars reads, and fetches only the columns needed."""

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
from extractors.record.output.base import MIN_FREE_BYTES, Output, T, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import polars as pl

    from extractors.core.buckets import BucketLocation
    from extractors.core.buckets.errors import Operation

READERS = 8  # threads that read files
_PROBE = "probe"


class BucketOutput(Output):
    """An output root in a bucket. A file appears when its upload is complete, a folder with its first file."""

    def __init__(self, location: BucketLocation) -> None:
        """Sends nothing. Raises ConfigurationError for missing or wrong settings in the environment."""
        super().__init__(location.url)
        self._location = location
        self._store, self._patient = (
            open_bucket(location, QUICK_RETRY),
            open_bucket(location),
        )  # few retries until the first request succeeds
        self._options = (read_profile() if location.scheme == "s3" else None) or None

    def map_files(self, read: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
        """See Output. Reads several files at once, since each one takes several requests."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="tables") as threads:
            yield from threads.map(read, keys)

    def list_files(self, folder: str, pattern: str) -> list[str]:
        """See Output."""
        wanted = pattern.split("/")
        return [
            key for key in self._list_keys(folder) if _match_pattern(key.removeprefix(f"{folder}/").split("/"), wanted)
        ]

    def list_folders(self, folder: str) -> list[str]:
        """See Output."""
        with self._translate_errors():
            listing = obstore.list_with_delimiter(self._store, self._bucket_key(folder))
        return sorted(each.rstrip("/").rpartition("/")[2] for each in listing["common_prefixes"])

    def exists(self, key: str) -> bool:
        """See Output."""
        with self._translate_errors():
            try:
                obstore.head(self._store, self._bucket_key(key))
            except FileNotFoundError:
                return False
        return True

    def create_staging(self, folder: str, tables: Sequence[str]) -> None:  # noqa: ARG002 - permissions cover the whole bucket
        """See Output. Buckets have no empty folders: one object is written and deleted as a probe."""
        probe = self._bucket_key(f"{folder}/{_PROBE}")
        with translate_errors(self._location, "written"):
            obstore.put(self._store, probe, b"")
            obstore.delete(self._store, probe)

    def write(self, key: str, rows: pl.DataFrame | pl.LazyFrame, scratch: str | None = None) -> None:  # noqa: ARG002
        """See Output. A large file is uploaded in parts and appears after the last one."""
        with tempfile.TemporaryDirectory(prefix="tilewise-") as folder:
            local = Path(folder, "rows.parquet")
            write_parquet(rows, local)
            with self._translate_errors():
                obstore.put(self._store, self._bucket_key(key), local)

    def write_page(self, key: str, text: str) -> None:
        """See Output. The content type lets a browser show it as a page."""
        self._put_text(key, text, "text/html")

    def write_text(self, key: str, text: str) -> None:
        """See Output."""
        self._put_text(key, text, "text/plain")

    def remove_file(self, key: str) -> None:
        """See Output."""
        with self._translate_errors(), suppress(FileNotFoundError):
            obstore.delete(self._store, self._bucket_key(key))

    def remove_folder(self, folder: str) -> None:
        """See Output. Another process may delete the same volume at the same time."""
        keys = [self._bucket_key(key) for key in self._list_keys(folder)]
        with self._translate_errors():
            try:
                obstore.delete(self._store, keys)
            except FileNotFoundError:
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._store, key)

    def remove_empty(self, folder: str) -> None:
        """See Output: buckets have no empty folders."""

    def describe_error(self, error: Exception, act: Operation) -> str:
        """See Output. The failed request decides between listed, read and written, since publishing reads before it writes."""
        text, spool = str(error), tempfile.gettempdir()
        if shutil.disk_usage(spool).free < MIN_FREE_BYTES:
            return f"cannot be {act}: the disk of {spool} is full, and tables are built there before upload"
        if "list request" in text:
            act = "listed"
        elif re.search(r"performing (GET|HEAD) ", text):
            act = "read"
        return explain_error(error, self._location.scheme, act)

    def _put_text(self, key: str, text: str, content_type: str) -> None:
        attributes = {"Content-Type": f"{content_type}; charset=utf-8"}
        with self._translate_errors():
            obstore.put(self._store, self._bucket_key(key), text.encode(), attributes=attributes)

    def _list_keys(self, folder: str) -> list[str]:
        """The sorted keys below a folder."""
        start = len(self._bucket_key(""))
        with self._translate_errors():
            pages = obstore.list(self._store, self._bucket_key(folder))
            return sorted(meta["path"][start:] for page in pages for meta in page)

    def _bucket_key(self, key: str) -> str:
        """The object key below the prefix."""
        return f"{self._location.prefix}/{key}" if self._location.prefix else key

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of obstore as OSError."""
        try:
            yield
        except ERRORS as error:
            raise OSError(str(error)) from error
        self._store = self._patient


def _match_pattern(parts: list[str], pattern: list[str]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
