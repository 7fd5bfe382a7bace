"""Images in, documents out: each image alone, or the pages of a document together, as a stream.

By `folder` and by `name` an image's place says where it belongs, and the images must come as a walk gives them, a
folder's own before or after those of the folders in it. Only documents that may still get a page are kept in memory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from extractors.core import Document
from extractors.scan.folder import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from extractors.core import Found

By = Literal["folder", "name", "frames"]

_NUMBERED = re.compile(r"(.+)-(\d+)\.[^./]+")  # `invoice_001-2.jpg` is page 2 of `invoice_001`
_DIGITS = re.compile(r"(\d+)")


class _Place(NamedTuple):
    """To which document an image belongs; `within` begins the name of every image that may still join it."""

    document: str
    within: str


def grouped(images: Iterable[Found], by: By | None) -> Iterator[Document]:
    """The documents that these images make; `frames` of one file are told apart when its header is read.

    | by       | one document is                                    | its pages are in the order of             |
    |----------|----------------------------------------------------|-------------------------------------------|
    | `folder` | the images of a folder, without those of its folders | their names, where 10 comes after 9       |
    | `name`   | `a-1.jpg`, `a-2.jpg`, … in one folder, named `a`     | their numbers; `a.jpg` is another document |
    """
    if by in {None, "frames"}:
        return (Document(found.uri, (found,)) for found in images)
    return _gathered(images, _folder if by == "folder" else _numbered)


def _gathered(images: Iterable[Found], place: Callable[[Found], _Place | None]) -> Iterator[Document]:
    waiting: dict[_Place, list[Found]] = {}
    for found in images:
        for whole in [each for each in waiting if not found.uri.startswith(each.within)]:
            yield _document(whole, waiting.pop(whole))
        where = place(found) if found.uri.lower().endswith(SUFFIXES) else None  # else a folder that cannot be listed
        if where is None:
            yield Document(found.uri, (found,))
        else:
            waiting.setdefault(where, []).append(found)
    for where, pages in waiting.items():
        yield _document(where, pages)


def _document(where: _Place, pages: list[Found]) -> Document:
    return Document(where.document, tuple(sorted(pages, key=_natural)))


def _folder(found: Found) -> _Place:
    folder = found.uri.rpartition("/")[0]
    return _Place(folder, folder + "/")


def _numbered(found: Found) -> _Place | None:
    matched = _NUMBERED.fullmatch(found.uri)
    return _Place(matched[1], matched[1] + "-") if matched else None


def _natural(found: Found) -> tuple[list[tuple[int, str]], str]:
    """Sorts names as people count: the numbers in them by their value, and `scan.jpg` before `scan 2.jpg`."""
    name, _, suffix = found.uri.rpartition(".")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)], suffix
