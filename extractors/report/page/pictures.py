"""Pictures of the report: reads each document's first page again and makes a small copy of it, as a data URL.

Pictures are made in threads, a few ahead of the page that is written, so that few are in memory. A file that has changed
or is missing has no picture, but a reason.
"""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, NamedTuple

from extractors.core import Found
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.images.open import translate_errors
from extractors.images.pdf import open_pdf
from extractors.images.pixels import load_pixels
from extractors.scan.stores import MixedStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from concurrent.futures import Future

    from PIL import Image
    from pydantic import SecretStr

CORES = min(4, os.cpu_count() or 1)
THUMBNAIL_SIDE, MEDIUM_SIDE, LARGE_SIDE = 160, 880, 1120  # px, the longest side
MOST_LARGE = 100  # documents with a large picture, the first of the page
REMOTE_READERS = 16  # threads where reading waits for the network
_LARGE_PIXELS = 25_000_000  # of an original; only one above that is decoded at a time
_THUMBNAIL_BYTES = (1_500, 6_000)  # least and most of one picture
_LARGE_BYTES = (8_000, 160_000)
_THUMBNAIL_TOTAL, _LARGE_TOTAL = 4_200_000, 2_400_000  # bytes of all; as base64 a third more
_LARGE_TOTAL_OF_FEW = 8_000_000  # where thumbnails leave room
_READABLE_BYTES = 50_000  # of a page of print at the largest side
_STEPS = ((1, 55), (1, 30), (0.7, 30), (0.5, 20))  # scale and quality, tried in turn
_FAR = 1.5  # times the wanted bytes: a lower quality alone does not make up for that
_REASONS = {
    "changed": "no picture: the file has changed since this run read it",
    "missing": "no picture: the file is missing now",
    "forbidden": "no picture: the file may not be read now",
}
_LATE = "no picture: left out to write this page in time"


class PictureSource(NamedTuple):
    """A page as the table `images` describes it: where it is, in which version, and its upright size."""

    uri: str
    page: int | None = None
    version: str | None = None
    size: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None


class PictureView(NamedTuple):
    """A data URL with the picture's size, or the reason why no picture is shown."""

    url: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""
    large: bool = False


@dataclass(frozen=True, slots=True)
class PictureSize:
    """The longest side of a picture, the most bytes of its file, and its format."""

    side: int
    most_bytes: int
    format: str

    @classmethod
    def of(cls, place: int, documents: int) -> PictureSize:
        """Of the document at this place of the page, from 0: the first ones are large; all stay within the page's size."""
        if place < MOST_LARGE:
            total = _LARGE_TOTAL if documents > 2 * MOST_LARGE else _LARGE_TOTAL_OF_FEW
            most = _share(total, min(documents, MOST_LARGE), _LARGE_BYTES)
            return cls(LARGE_SIDE if most > _READABLE_BYTES else MEDIUM_SIDE, most, "WEBP")
        return cls(THUMBNAIL_SIDE, _share(_THUMBNAIL_TOTAL, documents - MOST_LARGE, _THUMBNAIL_BYTES), "JPEG")


class PictureReader:
    """Makes the pictures of documents in their order; `seconds` limits the time, after which reasons take their place."""

    def __init__(
        self,
        allow_hosts: Collection[str] = (),
        passwords: Sequence[SecretStr] = (),
        seconds: float | None = None,
    ) -> None:
        """Images are read as runs read them: `allow_hosts` and `passwords` are those of the settings."""
        self._store, self._passwords = MixedStore(allow_hosts), tuple(passwords)
        self._end = None if seconds is None else time.monotonic() + seconds
        self._decoding, self._decoding_large = BoundedSemaphore(CORES), Lock()

    def close(self) -> None:
        """Closes all connections."""
        self._store.close()

    def pictures(self, sources: Sequence[PictureSource | None]) -> Iterator[PictureView]:
        """Yields one picture per source, in order; None is a page that was never read."""
        threads = REMOTE_READERS if any(source and "://" in source.uri for source in sources) else CORES
        with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
            waiting: deque[Future[PictureView]] = deque()
            for place, source in enumerate(sources):
                waiting.append(pool.submit(self._make, source, PictureSize.of(place, len(sources))))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _make(self, source: PictureSource | None, wanted: PictureSize) -> PictureView:
        if source is None or not source.width or not source.height:
            return PictureView(reason="no picture: the file could not be opened as an image")
        if self._end is not None and time.monotonic() > self._end:
            return PictureView(reason=_LATE)
        try:
            data = self._store.read(Found(source.uri, size=source.size, version=source.version, page=source.page))
            return self._encode(data, source, wanted)
        except DocumentError as error:
            return PictureView(reason=_REASONS.get(error.kind, f"no picture: {error.message}"))

    def _encode(self, data: bytes, source: PictureSource, wanted: PictureSize) -> PictureView:
        full = Size(source.width or 1, source.height or 1)
        size = full.scale_to(wanted.side) if full.longest > wanted.side else full
        with self._decoding, self._decoding_large if full.width * full.height > _LARGE_PIXELS else nullcontext():
            pixels = self._decode(data, source, size)
        with translate_errors("unreadable", "prepare"):
            encoded = _compress(pixels, wanted)
        media = f"image/{wanted.format.lower()}"
        url = f"data:{media};base64,{b64encode(encoded).decode()}"
        return PictureView(url, size.width, size.height, large=wanted.side > THUMBNAIL_SIDE)

    def _decode(self, data: bytes, source: PictureSource, size: Size) -> Image.Image:
        if source.format == "PDF":
            with open_pdf(data, "prepare", self._passwords) as pdf:
                return pdf.render(source.page or 1, size)
        return load_pixels(data, "prepare", source.page, source.orientation or 1, size)


def _share(total: int, documents: int, limits: tuple[int, int]) -> int:
    least, most = limits
    return min(most, max(least, total // max(1, documents)))


def _compress(pixels: Image.Image, wanted: PictureSize) -> bytes:
    """Encodes at the first size and quality that fit, else at the last."""
    pixels.info = {}  # profiles and comments would be written out again
    encoded = b""
    for scale, quality in _STEPS:
        if encoded and len(encoded) > _FAR * wanted.most_bytes and scale == 1:
            continue
        smaller = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        encoded = _encode_as(pixels if scale == 1 else pixels.resize(smaller), wanted.format, quality)
        if len(encoded) <= wanted.most_bytes:
            break
    return encoded


def _encode_as(pixels: Image.Image, kind: str, quality: int) -> bytes:
    buffer = BytesIO()
    pixels.save(buffer, kind, quality=quality, method=1) if kind == "WEBP" else pixels.save(
        buffer, kind, quality=quality, subsampling=2
    )
    return buffer.getvalue()
