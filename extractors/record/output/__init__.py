"""output: where tables are written, a folder or a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.buckets import is_bucket_url, parse_location
from extractors.record.output.folder import FolderOutput

if TYPE_CHECKING:
    from extractors.record.output.base import Output


def open_output(name: str) -> Output:
    """The output of this absolute path or URL. Raises ConfigurationError when the environment lacks a bucket's settings."""
    if is_bucket_url(name):
        from extractors.record.output.bucket import BucketOutput  # noqa: PLC0415 - takes 40 ms, which a folder saves

        return BucketOutput(parse_location(name, "output"))
    return FolderOutput(Path(name))
