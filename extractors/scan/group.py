"""Group images into documents, as a stream.

`folder` and `name` group by path, and need the order of a walk: a folder's own images before or after those of its
subfolders. Only documents that may still get a page are in memory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from extractors.core import Document
from extractors.scan.formats import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from extractors.core import Found

GroupBy = Literal["folder", "name", "frames", "page"]

_NUMBERED = re.compile(r"(.+)-(\d+)\.[^./]+")  # `invoice_001-2.jpg` is page 2 of `invoice_001`
_DIGITS = re.compile(r"(\d+)")


class _GroupKey(NamedTuple):
    """The document of an image; `within` is the common prefix of all images that may join it."""

    document: str
    within: str


def group_images(images: Iterable[Found], by: GroupBy | None) -> Iterator[Document]:
    """Group images into documents; `frames` and `page` split files later, when their headers are read.

    | by       | one document is                                    | its pages are in the order of             |
    |----------|----------------------------------------------------|-------------------------------------------|
    | `folder` | the images of a folder, without those of its folders | their names, where 10 comes after 9       |
    | `name`   | `a-1.jpg`, `a-2.jpg`, … in one folder, named `a`     | their numbers; `a.jpg` is another document |
    """
    if by in {None, "frames", "page"}:
        return (Document(found.uri, (found,)) for found in images)
    return _group_by_key(images, _folder_key if by == "folder" else _number_key)


def _group_by_key(images: Iterable[Found], place: Callable[[Found], _GroupKey | None]) -> Iterator[Document]:
    waiting: dict[_GroupKey, list[Found]] = {}
    for found in images:
        for whole in [each for each in waiting if not found.uri.startswith(each.within)]:
            yield _make_document(whole, waiting.pop(whole))
        where = place(found) if found.uri.lower().endswith(SUFFIXES) else None  # else a folder that could not be listed
        if where is None:
            yield Document(found.uri, (found,))
        else:
            waiting.setdefault(where, []).append(found)
    for where, pages in waiting.items():
        yield _make_document(where, pages)


def _make_document(where: _GroupKey, pages: list[Found]) -> Document:
    return Document(where.document, tuple(sorted(pages, key=_natural_order)))


def _folder_key(found: Found) -> _GroupKey:
    folder = found.uri.rpartition("/")[0]
    return _GroupKey(folder, folder + "/")


def _number_key(found: Found) -> _GroupKey | None:
    matched = _NUMBERED.fullmatch(found.uri)
    return _GroupKey(matched[1], matched[1] + "-") if matched else None


def _natural_order(found: Found) -> tuple[list[tuple[int, str]], str]:
    """Return a sort key that orders numbers in names by value, and `scan.jpg` before `scan 2.jpg`."""
    name, _, suffix = found.uri.rpartition(".")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)], suffix
