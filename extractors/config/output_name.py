"""The name of an output as every table has it. It imports little, so that a wrong name is an error at once."""

from __future__ import annotations

from pathlib import Path

from extractors.core.buckets import BUCKETS, is_bucket_url, parse_location
from extractors.core.errors import ConfigurationError, format_value

_COLLAPSED = tuple(f"{scheme}:/" for scheme in BUCKETS)  # `s3:/bucket`: pathlib makes one slash of two


def name_output(value: str) -> str:
    """The output's name: an absolute folder, or a bucket's URL without a slash at its end.

    Raises ConfigurationError for what is neither.
    """
    if is_bucket_url(value):
        return parse_location(value, "output").url
    if "://" in value or value.lower().startswith(_COLLAPSED):
        allowed = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise ConfigurationError(f"output {format_value(value)} cannot be written: use a folder, or {allowed}")
    path = Path(value).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ConfigurationError(f"output {value!r} cannot be written: it is a file, name a folder")
    return str(path)
