"""List an S3 bucket through its own API: obstore refuses a page that holds one key with an empty or relative segment."""

from __future__ import annotations

import html
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NoReturn, cast
from urllib.parse import quote, unquote_plus

import obstore
from obstore.store import S3Store

from extractors.core.buckets.aws import read_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from obstore.store import S3Config

    from extractors.core.buckets import BucketLocation

ATTEMPTS = 5
_LIFETIME = timedelta(minutes=15)
_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
_CONTENTS = re.compile(r"<Contents>(.*?)</Contents>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing; `modified` is None where the server's time cannot be read."""

    key: str
    size: int
    etag: str | None
    modified: datetime | None

    @property
    def is_addressable(self) -> bool:
        """Whether obstore can read an object with this key."""
        segments = self.key.split("/")
        return not (
            any(segment in {"", ".", ".."} for segment in segments)
            or any(ord(each) < 32 or ord(each) == 127 for each in self.key)
        )


def list_objects(
    location: BucketLocation, start_after: str = "", sleep: Callable[[float], None] = time.sleep
) -> Iterator[ListedObject]:
    """Yield the objects below the prefix in the order of their keys, those after `start_after`.

    Raises OSError for a page that cannot be read after retries.
    """
    import httpx  # noqa: PLC0415 - only a listing with odd keys needs it

    prefix = f"{location.prefix}/" if location.prefix else ""
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "start-after": start_after}
    with httpx.Client(timeout=60, follow_redirects=False) as client:
        while True:
            page = _fetch_page(client, partial(_page_url, location, query), sleep)
            decode = unquote_plus if _field(page, "EncodingType") == "url" else str
            for entry in _CONTENTS.findall(page):
                yield _parse_object(entry, decode)
            token = _field(page, "NextContinuationToken")
            if _field(page, "IsTruncated") != "true" or not token:
                return
            query = {**query, "start-after": "", "continuation-token": token}


def _page_url(location: BucketLocation, query: dict[str, str]) -> str:
    """Return the signed URL of one page.

    obstore holds the credentials, of any kind, and signs URLs of objects only: a store whose endpoint ends in the
    page's query signs it with them. The last parameter takes the slash that obstore appends; servers ignore it.
    """
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items() if value)
    profile = read_profile()
    dummy = {**profile, "access_key_id": "x", "secret_access_key": "x", "skip_signature": "false"}
    base = _sign(location.bucket, dummy, "x").partition("?")[0].removesuffix("/x")
    if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in {"true", "1", "yes", "on"}:
        return f"{base}?{text}"
    endpoint = f"{base}?{text}&x-id=ListObjectsV2"
    return _sign(location.bucket, {**profile, "endpoint": endpoint, "virtual_hosted_style_request": "true"}, "")


def _sign(bucket: str, config: dict[str, str], key: str) -> str:
    return obstore.sign(S3Store(bucket, config=cast("S3Config", config)), "GET", key, _LIFETIME)


def _fetch_page(client: httpx.Client, make_url: Callable[[], str], sleep: Callable[[float], None]) -> str:
    """Return a page's XML. Raises OSError after the last attempt."""
    import httpx  # noqa: PLC0415 - as above

    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        try:
            response = client.get(make_url())
        except httpx.HTTPError as error:
            if last:
                raise OSError(f"{type(error).__name__}") from error
        else:
            if response.status_code == 200:
                return response.content.decode("utf-8", errors="replace")
            if last or response.status_code not in _RETRYABLE:
                _raise_status(response)
        sleep(min(0.5 * 2**attempt, 8.0))
    raise AssertionError


def _raise_status(response: httpx.Response) -> NoReturn:
    raise OSError(f"the server returned {response.status_code}: {response.text[:1000]}")


def _parse_object(entry: str, decode: Callable[[str], str]) -> ListedObject:
    size, etag = _field(entry, "Size"), _field(entry, "ETag")
    return ListedObject(
        decode(_field(entry, "Key")),
        int(size) if size.isdecimal() else 0,
        etag or None,
        _parse_time(_field(entry, "LastModified")),
    )


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _field(text: str, name: str) -> str:
    match = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return html.unescape(match[1]) if match else ""
