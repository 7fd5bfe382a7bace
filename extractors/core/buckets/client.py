"""A place in, its bucket out, through obstore; credentials come from the environment, a profile or an instance's role."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from extractors.core.buckets.aws import profile
from extractors.core.buckets.errors import refusal
from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ObjectStore, RetryConfig, S3Config

    from extractors.core.buckets import Place
    from extractors.core.buckets.errors import Act

ERRORS = (BaseError, OSError, ValueError)  # whatever obstore raises
# Whether a bucket can be used at all is said within seconds. Later on SlowDown is waited out, but no longer than a run
# that is told to stop can wait for its readers.
QUICK: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}
PATIENT: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}


def opened(where: Place, retry: RetryConfig = PATIENT) -> ObjectStore:
    """The bucket, with whatever credentials there are; nothing is sent yet.

    Raises ConfigurationError for what is missing or wrong in the environment.
    """
    with begun(where):
        if where.scheme == "s3":
            return S3Store(where.bucket, config=cast("S3Config", profile()), retry_config=retry)
        if where.scheme == "gs":
            return GCSStore(where.bucket, retry_config=retry)
        return AzureStore(where.bucket, retry_config=retry)


@contextmanager
def begun(where: Place, act: Act = "listed") -> Iterator[None]:
    """Raises ConfigurationError for whatever keeps the place from being used, in words that say what to do."""
    try:
        yield
    except ERRORS as error:
        raise ConfigurationError(f"{where.role} {where.url!r} {refusal(error, where.scheme, act)}") from error
