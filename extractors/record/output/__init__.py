"""output: where tables are written, a folder or a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.buckets import BUCKETS, is_bucket_url, parse_location
from extractors.core.errors import ConfigurationError, format_value
from extractors.record.output.folder import FolderOutput

if TYPE_CHECKING:
    from extractors.record.output.base import Output


def open_output(name: str) -> Output:
    """The output of this absolute path or URL. Raises ConfigurationError when the environment lacks a bucket's settings."""
    if is_bucket_url(name):
        from extractors.record.output.bucket import BucketOutput  # noqa: PLC0415 - takes 40 ms, which a folder saves

        return BucketOutput(parse_location(name, "output"))
    return FolderOutput(Path(name))


def name_output(value: str) -> str:
    """The output's name: an absolute folder, or a bucket's URL without a slash at its end.

    Raises ConfigurationError for what is neither.
    """
    if is_bucket_url(value):
        return parse_location(value, "output").url
    if "://" in value:
        allowed = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise ConfigurationError(f"output {format_value(value)} cannot be written: use a folder, or {allowed}")
    path = Path(value).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ConfigurationError(f"output {value!r} cannot be written: it is a file, name a folder")
    return str(path)
