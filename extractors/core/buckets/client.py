"""Open a bucket through obstore; credentials come from the environment, a profile or an instance role."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from extractors.core.buckets.aws import read_profile
from extractors.core.buckets.errors import explain_error
from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ObjectStore, RetryConfig, S3Config

    from extractors.core.buckets import BucketLocation
    from extractors.core.buckets.errors import Operation

ERRORS = (BaseError, OSError, ValueError)  # the errors that obstore raises
# The first request fails within seconds. Later requests wait longer for SlowDown, but not longer than a run that stops
# can wait for its readers.
QUICK_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}
PATIENT_RETRY: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}


def open_bucket(location: BucketLocation, retry: RetryConfig = PATIENT_RETRY) -> ObjectStore:
    """Return a client for the bucket; no request is sent yet.

    Raises ConfigurationError for wrong or missing settings in the environment.
    """
    with translate_errors(location):
        if location.scheme == "s3":
            return S3Store(location.bucket, config=cast("S3Config", read_profile()), retry_config=retry)
        if location.scheme == "gs":
            return GCSStore(location.bucket, retry_config=retry)
        return AzureStore(location.bucket, retry_config=retry)


@contextmanager
def translate_errors(location: BucketLocation, act: Operation = "listed") -> Iterator[None]:
    """Translate obstore's errors into a ConfigurationError that says what to do."""
    try:
        yield
    except ERRORS as error:
        raise ConfigurationError(
            f"{location.role} {location.url!r} {explain_error(error, location.scheme, act)}"
        ) from error
