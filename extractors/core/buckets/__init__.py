"""buckets: URLs of object stores, clients for them, and their errors in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from extractors.core.errors import ConfigurationError, format_value
from extractors.core.redact import is_signed

BUCKETS = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True)
class BucketLocation:
    """A bucket and a prefix in it: a key, or the folder of keys, without a slash at either end.

    `role` is what the location is used for: `source` or `output`.
    """

    scheme: str
    bucket: str
    prefix: str
    role: str = "source"

    @property
    def root(self) -> str:
        """The part of a uri before the key."""
        return f"{self.scheme}://{self.bucket}/"

    @property
    def url(self) -> str:
        """The location as a URL."""
        return (self.root + self.prefix).rstrip("/")


def is_bucket_url(url: str) -> bool:
    """Return whether this is the URL of a bucket."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.lower() in BUCKETS


def parse_location(url: str, role: str = "source") -> BucketLocation:
    """Parse a bucket URL. Raises ConfigurationError where the bucket is missing, or for user info or a signature."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or re.search(r"[?#]", bucket) or is_signed(url):
        raise ConfigurationError(
            f"{role} {format_value(url)} holds more than a location: leave out user and signature; credentials come"
            " from the environment"
        )
    if not bucket:
        raise ConfigurationError(f"{role} {url!r} names no bucket: write {scheme}://bucket/prefix")
    return BucketLocation(scheme.lower(), bucket, prefix.strip("/"), role)
