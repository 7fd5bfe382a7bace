"""Manifests: lists that a person or a query wrote, of images wherever they lie. This module is what others import.

| kind     | holds                                                  | other columns                       |
|----------|--------------------------------------------------------|-------------------------------------|
| .txt     | a uri a line                                           | none                                |
| .csv     | a column `uri`, and `document` and `page` where wanted | text                                |
| .jsonl   | the same as an object a line                           | as they are there                   |
| .parquet | the same                                               | as JSON has them, other values text |
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
    """Whether a source is the name of a manifest, here or in a bucket: no folder, and what such a file ends in."""
    if not source.lower().endswith(KINDS):
        return False
    scheme, separator, _ = source.partition("://")
    return scheme.lower() in OBJECTS if separator else not Path(source).expanduser().is_dir()


def read_manifest(source: str) -> Manifest:
    """The manifest, read and checked as a whole.

    Raises ConfigurationError for one that cannot be read, names nothing, or names something twice.
    """
    from extractors.scan.manifest.manifest import read  # noqa: PLC0415 - polars takes 150 ms, which no folder need wait for

    return read(source)


def scan_manifest(source: str) -> Iterator[Document]:
    """Its documents in the order of their first rows. Raises ConfigurationError at once, as `read_manifest` does."""
    return read_manifest(source).documents()
