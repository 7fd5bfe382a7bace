"""A file in, its pages billed out: those of a PDF, the frames of a TIFF where they are asked for, else the one picture."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from extractors.bill.header import billed, read_header
from extractors.core import Billed, Found, Header, Problem, Store
from extractors.core.errors import DocumentError
from extractors.images.pdf import is_pdf, opened

if TYPE_CHECKING:
    from collections.abc import Callable


_HEAD = 1024  # bytes: within them a PDF says that it is one


def pages(found: Found, store: Store, *, frames: bool, most: int) -> tuple[Billed, ...]:
    """The file's pages with their headers read, each billed as it is; what is wrong is a flaw, never an exception.

    With `frames` those of a TIFF are pages. A file of more than `most` pages is one page with that flaw, and so is one
    that cannot be opened; of its pages each has its own flaw. A video is not looked into: no rule bills it.
    """
    if found.problem or found.video:
        return (Billed(found, problem=found.problem),)
    if found.size == 0:
        return (Billed(found, problem=Problem("empty", "bill", "the file has no bytes")),)
    try:
        with _stream(found, store) as stream:
            head = stream.read(_HEAD)
            stream.seek(0)
            if is_pdf(head):
                return _of_pdf(found, stream.read() if isinstance(stream, BytesIO) else store.read(found), most)
            return _of_picture(found, stream, most if frames else None)
    except DocumentError as error:
        return (Billed(found, problem=_flaw(error)),)


def too_many(pages: int, most: int) -> Problem:
    """The flaw of a document of so many pages."""
    return Problem("too_many_pages", "bill", f"{pages} pages are over TILEWISE_MAX_IMAGES={most}")


def _stream(found: Found, store: Store) -> BinaryIO:
    """The file from its start; of a PDF all bytes at once, as there is nothing to be known of it without its end."""
    return BytesIO(store.read(found)) if found.uri.lower().endswith(".pdf") else store.open(found)


def _of_pdf(found: Found, data: bytes, most: int) -> tuple[Billed, ...]:
    with opened(data, "bill") as pdf:
        if pdf.pages > most:
            return (Billed(found, problem=too_many(pdf.pages, most)),)
        return _each(found, pdf.pages, lambda number: Header(pdf.size(number), "PDF", pdf.pages, 1))


def _of_picture(found: Found, stream: BinaryIO, most: int | None) -> tuple[Billed, ...]:
    """The picture, with `most` the frames of a TIFF that has several."""
    header = read_header(stream)
    if header.frames == 1:
        return (billed(found, header),)
    if most is None or header.format != "TIFF":
        return (replace(billed(found, header), note=f"first of {header.frames} frames"),)
    if header.frames > most:
        return (Billed(found, problem=too_many(header.frames, most)),)
    return _each(found, header.frames, lambda number: read_header(stream, number))


def _each(found: Found, count: int, header: Callable[[int], Header]) -> tuple[Billed, ...]:
    return tuple(_page(replace(found, page=number), header) for number in range(1, count + 1))


def _page(found: Found, header: Callable[[int], Header]) -> Billed:
    assert found.page is not None
    try:
        return billed(found, header(found.page))
    except DocumentError as error:
        return Billed(found, problem=_flaw(error))


def _flaw(error: DocumentError) -> Problem:
    return Problem(error.kind, "bill", error.message, error.final)
