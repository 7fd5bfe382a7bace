"""One entry of a manifest: what its text names, what of that may be written down, and the image that is found there."""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from extractors.core import Found, Problem
from extractors.scan.folder import found_file
from extractors.scan.redact import bare, is_signed

if TYPE_CHECKING:
    from collections.abc import Iterable

WEB = ("http", "https")
OBJECTS = ("s3", "gs", "az")
VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg")
# Regular expressions that Python and polars read alike. What matches PLAIN names itself; of what matches PRESIGNED the
# part before the query does, as all of the query signs.
URL = r"^[A-Za-z][A-Za-z0-9+.-]*://"
PLAIN = r"^(https?://[a-z0-9.-]+(:[0-9]+)?/[^?#%@:&\\\s]*|(s3|gs|az)://[^/@?#]+/[^?#]+)$"
PRESIGNED = r"^(https?://[a-z0-9.-]+(?::[0-9]+)?/[^?#%@:&\\\s]*)\?(?:(?:X-Amz|X-Goog)-[A-Za-z-]+=[^&;#?:/\s]*(?:&|$))+$"
UNTIDY = r"(^|/)(\.{0,2}/|\.{1,2}$|$)"  # a relative path that goes back, stays where it is, or ends in a slash
UNTIDY_BELOW = UNTIDY.removeprefix("(^|/)").join(("/", ""))  # the same of an absolute one
REMOTE = r"^(https?|s3|gs|az)://"
_ENDS = "|".join(each.removeprefix(".") for each in VIDEOS)
REMOTE_VIDEO = rf"^(https?://[^?]*\.(?i:{_ENDS})(\?|$)|(s3|gs|az)://.*\.(?i:{_ENDS})$)"
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Base:
    """What paths are relative to: the manifest's folder, or its place in a bucket, as `s3://bucket/lists`."""

    folder: str

    @property
    def remote(self) -> bool:
        """Whether a relative path is an object's."""
        return "://" in self.folder

    def path(self, text: str) -> str:
        """A path that is not a URL, made absolute and tidy."""
        if text.startswith("/") or not self.remote:
            return os.path.normpath(os.path.join(self.folder, text))  # noqa: PTH118 - keeps links in the path
        scheme, _, place = self.folder.partition("://")
        bucket, _, folder = place.partition("/")
        return f"{scheme}://{bucket}{os.path.normpath(f'/{folder}/{text}')}"


def named(texts: Iterable[str], base: Base) -> list[tuple[str, str | None]]:
    """For each text what names the image in every table, and the text itself where it holds what no table may."""
    return [_named(text, base) for text in texts]


def _named(text: str, base: Base) -> tuple[str, str | None]:
    if not re.match(URL, text):
        return base.path(text), None
    scheme, _, rest = text.partition("://")
    if scheme.lower() in OBJECTS and not (is_signed(text) or "@" in rest.partition("/")[0]):
        return f"{scheme.lower()}://{rest}", None  # a key may hold what would end a path elsewhere
    uri = bare(text)
    told = text.partition("#")[0].strip()
    return uri, None if uri.lower() == told.lower() else text


def found(uri: str, address: str | None) -> Found:
    """The image that an entry names, a file with its size and time; what cannot be read at all is found with a flaw."""
    scheme, separator, rest = uri.partition("://")
    if not separator or uri.startswith("/"):
        return _unsendable(uri) if is_video(uri) else found_file(uri)
    if scheme in WEB:
        return Found(uri, address=None if address is None else SecretStr(address), video=is_video(uri))
    if scheme not in OBJECTS:
        allowed = ", ".join(f"{each}://" for each in (*WEB, *OBJECTS))
        return _flawed(uri, "blocked_address", f"{scheme}:// is not read: use a path, {allowed}")
    if address is not None:
        message = "a bucket's URL holds no user and no signature: credentials come from the environment"
        return _flawed(uri, "forbidden", message)
    bucket, _, key = rest.partition("/")
    if not bucket or not key.strip("/"):
        return _flawed(uri, "missing", f"names no object: write {scheme}://bucket/key")
    return Found(uri, video=is_video(uri))


def is_video(uri: str) -> bool:
    """Whether the name ends as a video's does, that of an http(s) URL before its query."""
    path = uri.partition("?")[0] if uri.startswith(WEB) else uri
    return path.lower().endswith(VIDEOS)


def _unsendable(uri: str) -> Found:
    return _flawed(uri, "video_not_allowed", "a video travels as a URL: name it by http(s):// or by its bucket")


def _flawed(uri: str, kind: str, words: str) -> Found:
    return Found(uri, problem=Problem(kind, "scan", f"{uri[:_LONGEST]}: {words}", final=False))
