"""bucket: where objects lie, how their server is reached, and what is said when it cannot be. A leaf: it imports errors."""

from __future__ import annotations

import re
from dataclasses import dataclass

from extractors.core.errors import ConfigurationError, shown

BUCKETS = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which bucket; `prefix` is a key, or the folder that keys are in, without a slash at either end.

    `role` is what the place is to whoever named it: `source` or `output`.
    """

    scheme: str
    bucket: str
    prefix: str
    role: str = "source"

    @property
    def root(self) -> str:
        """What stands before a key in a uri."""
        return f"{self.scheme}://{self.bucket}/"

    @property
    def url(self) -> str:
        """The place as a person writes it."""
        return (self.root + self.prefix).rstrip("/")


def in_bucket(url: str) -> bool:
    """Whether this is a bucket's URL."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.lower() in BUCKETS


def place(url: str, role: str = "source") -> Place:
    """The place that a URL names. Raises ConfigurationError for one without a bucket, or with more than a place in it."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or re.search(r"[?#]", url):
        raise ConfigurationError(
            f"{role} {shown(url)} holds more than a place: leave out user, query and fragment; credentials come"
            " from the environment"
        )
    if not bucket:
        raise ConfigurationError(f"{role} {url!r} names no bucket: write {scheme}://bucket/prefix")
    return Place(scheme.lower(), bucket, prefix.strip("/"), role)
