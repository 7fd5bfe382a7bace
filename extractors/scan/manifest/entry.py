"""One entry of a manifest: its uri without secrets, its full address, and the image it names."""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from extractors.core import Found, Problem
from extractors.core.redact import is_signed, redact_url
from extractors.scan.folder import find_file
from extractors.scan.manifest.pages import parse_pages

if TYPE_CHECKING:
    from collections.abc import Iterable

WEB = ("http", "https")
OBJECTS = ("s3", "gs", "az")
VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg")
# Regular expressions in the common syntax of Python and polars. PLAIN: the text is the uri. PRESIGNED: the uri ends before
# the query, which is only a signature.
URL = r"^[A-Za-z][A-Za-z0-9+.-]*://"
PLAIN = r"^(https?://[a-z0-9.-]+(:[0-9]+)?/[^?#%@:&\\\s]*|(s3|gs|az)://[^/@?#]+/[^?#]+)$"
PRESIGNED = r"^(https?://[a-z0-9.-]+(?::[0-9]+)?/[^?#%@:&\\\s]*)\?(?:(?:X-Amz|X-Goog)-[A-Za-z-]+=[^&;#?:/\s]*(?:&|$))+$"
UNTIDY = r"(^|/)(\.{0,2}/|\.{1,2}$|$)"  # a relative path with `.`, `..`, `//` or a slash at its end
UNTIDY_BELOW = UNTIDY.removeprefix("(^|/)").join(("/", ""))  # the same for an absolute one
REMOTE = r"^(https?|s3|gs|az)://"
_VIDEO_EXTENSIONS = "|".join(each.removeprefix(".") for each in VIDEOS)
REMOTE_VIDEO = rf"^(https?://[^?]*\.(?i:{_VIDEO_EXTENSIONS})(\?|$)|(s3|gs|az)://.*\.(?i:{_VIDEO_EXTENSIONS})$)"
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Base:
    """The folder that paths are relative to: the manifest's, on disk or in a bucket, as `s3://bucket/lists`."""

    folder: str

    @property
    def remote(self) -> bool:
        """Whether relative paths are keys of objects."""
        return "://" in self.folder

    def path(self, text: str) -> str:
        """Make a path absolute and normal."""
        if text.startswith("/") or not self.remote:
            return os.path.normpath(os.path.join(self.folder, text))  # noqa: PTH118 - keeps links in the path
        scheme, _, rest = self.folder.partition("://")
        bucket, _, folder = rest.partition("/")
        return f"{scheme}://{bucket}{os.path.normpath(f'/{folder}/{text}')}"


def name_entries(texts: Iterable[str], base: Base) -> list[tuple[str, str | None]]:
    """Return for each text the uri that tables hold, and the full text where that holds secrets."""
    return [_name_entry(text, base) for text in texts]


def _name_entry(text: str, base: Base) -> tuple[str, str | None]:
    if not re.match(URL, text):
        return base.path(text), None
    scheme, _, rest = text.partition("://")
    if scheme.lower() in OBJECTS and not (is_signed(text) or "@" in rest.partition("/")[0]):
        return f"{scheme.lower()}://{rest}", None  # keys may hold `?` and `#`
    uri = redact_url(text)
    address = text.partition("#")[0].strip()
    return uri, None if uri.lower() == address.lower() else text


def find_pages(name: str, address: str | None, pages: str | None) -> list[Found]:
    """Return the image that an entry names, or the chosen pages of it; `name` ends in `#page=` and the pages."""
    if pages is None:
        return [find_image(name, address)]
    found = find_image(name.removesuffix(f"#page={pages}"), address)
    return [replace(found, page=number) for number in parse_pages(pages)]


def find_image(uri: str, address: str | None) -> Found:
    """Return the image that an entry names, a file with size and time; an impossible entry has a problem."""
    scheme, separator, rest = uri.partition("://")
    if not separator or uri.startswith("/"):
        return _reject_video(uri) if is_video(uri) else find_file(uri)
    if scheme in WEB:
        return Found(uri, address=None if address is None else SecretStr(address), video=is_video(uri))
    if scheme not in OBJECTS:
        allowed = ", ".join(f"{each}://" for each in (*WEB, *OBJECTS))
        return _reject(uri, "blocked_address", f"{scheme}:// is not supported: use a path, {allowed}")
    if address is not None:
        message = "a bucket's URL holds no user and no signature: credentials come from the environment"
        return _reject(uri, "forbidden", message)
    bucket, _, key = rest.partition("/")
    if not bucket or not key.strip("/"):
        return _reject(uri, "missing", f"names no object: write {scheme}://bucket/key")
    return Found(uri, video=is_video(uri))


def is_video(uri: str) -> bool:
    """Return whether the extension is a video's, for http(s) URLs the one before the query."""
    path = uri.partition("?")[0] if uri.startswith(WEB) else uri
    return path.lower().endswith(VIDEOS)


def _reject_video(uri: str) -> Found:
    return _reject(uri, "video_not_allowed", "a video is sent as a URL: use an http(s):// or bucket URL")


def _reject(uri: str, kind: str, words: str) -> Found:
    return Found(uri, problem=Problem(kind, "scan", f"{uri[:_MAX_SHOWN]}: {words}", final=False))
