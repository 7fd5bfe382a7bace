"""Manifests: files that list images anywhere. Other packages import only this module.

| kind     | holds                                                  | other columns                       |
|----------|--------------------------------------------------------|-------------------------------------|
| .txt     | one uri per line                                       | none                                |
| .csv     | a column `uri`, and optionally `document` and `page`   | text                                |
| .jsonl   | the same, one object per line                          | unchanged JSON                      |
| .parquet | the same                                               | as JSON, other types as text        |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extractors.scan.manifest.entry import OBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.core import Document
    from extractors.scan.manifest.manifest import Manifest

KINDS = (".txt", ".csv", ".jsonl", ".parquet")


def is_manifest(source: str) -> bool:
    """Return whether a source is a manifest by its extension, on disk or in a bucket, and not a folder."""
    if not source.lower().endswith(KINDS):
        return False
    scheme, separator, _ = source.partition("://")
    return scheme.lower() in OBJECTS if separator else not Path(source).expanduser().is_dir()


def read_manifest(source: str) -> Manifest:
    """Read and check a whole manifest.

    Raises ConfigurationError for one that cannot be read, is empty, or names something twice.
    """
    from extractors.scan.manifest.manifest import read  # noqa: PLC0415 - polars takes 150 ms, which a folder does not need

    return read(source)


def scan_manifest(source: str) -> Iterator[Document]:
    """Return its documents in the order of their first rows. Raises ConfigurationError as `read_manifest` does."""
    return read_manifest(source).documents()
