"""Reads the pages of a file and bills each: pages of a PDF, frames of a TIFF with `--document-by frames`, else one image."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from extractors.bill.header import bill_page, describe_frame, list_frames, read_by_pillow, read_header
from extractors.bill.plain_header import parse_plain_header, read_plain_header
from extractors.core import BilledPage, Found, Header, Problem, Store
from extractors.core.errors import DocumentError
from extractors.images.pdf import Pdf, is_pdf, open_pdf

if TYPE_CHECKING:
    from collections.abc import Callable


_HEAD = 1024  # bytes: within them a PDF says that it is one


def read_pages(found: Found, store: Store, *, frames: bool, most: int) -> tuple[BilledPage, ...]:
    """Read the headers of the file's pages and bill each at its own size; errors become a Problem, no exception.

    With `frames` each frame of a TIFF is a page. A file of more than `most` pages, or one that cannot be opened, is one
    page with a Problem; a broken page of a readable file has its own. Where `found` names one page, only that page is
    read. A video is not opened: no rule bills it.
    """
    if found.problem or found.video:
        return (BilledPage(found, problem=found.problem),)
    if found.size == 0:
        return (BilledPage(found, problem=Problem("empty", "bill", "the file has no bytes")),)
    try:
        if plain := found.page is None and store.read_header(found, parse_plain_header):
            return (bill_page(found, plain),)
        with _open_stream(found, store) as stream:
            head = stream.read(_HEAD)
            stream.seek(0)
            if is_pdf(head):
                data = stream.read() if isinstance(stream, BytesIO) else store.read(found)
                return _read_pdf(found, data, most)
            return _read_picture(found, stream, most if frames else None)
    except DocumentError as error:
        return (BilledPage(found, problem=_to_problem(error)),)


def count_pages(found: Found, store: Store) -> int | None:
    """Count the pages of a PDF or frames of a TIFF; None for another file. Raises DocumentError if it cannot be opened."""
    name = found.uri.lower()
    if found.problem or found.video or not name.endswith((".pdf", ".tif", ".tiff")):
        return None
    with _open_stream(found, store) as stream:
        head = stream.read(_HEAD)
        stream.seek(0)
        if is_pdf(head):
            data = stream.read() if isinstance(stream, BytesIO) else store.read(found)
            with open_pdf(data, "bill", found.passwords) as pdf:
                return pdf.pages
        return len(list_frames(stream)) or None


def reject_page_count(pages: int, most: int) -> Problem:
    """Describe why a document of this many pages is rejected."""
    return Problem("too_many_pages", "bill", f"{pages} pages are over TILEWISE_MAX_IMAGES={most}")


def _open_stream(found: Found, store: Store) -> BinaryIO:
    """Open the file at its start; a PDF is read whole, because its page index stands at its end."""
    return BytesIO(store.read(found)) if found.uri.lower().endswith(".pdf") else store.open(found)


def _read_pdf(found: Found, data: bytes, most: int) -> tuple[BilledPage, ...]:
    with open_pdf(data, "bill", found.passwords) as pdf:

        def measure(number: int) -> Header:
            return Header(pdf.measure(number), "PDF", pdf.pages, 1)

        if found.page is not None:
            return (_note_pdf_page(_read_named(found, pdf.pages, measure), pdf),)
        if pdf.pages > most:
            return (BilledPage(found, problem=reject_page_count(pdf.pages, most)),)
        return tuple(_note_pdf_page(page, pdf) for page in _read_each(found, pdf.pages, measure))


def _note_pdf_page(billed: BilledPage, pdf: Pdf) -> BilledPage:
    """Note text of the page that is not drawn, and with the first page the attachments."""
    number = billed.found.page
    if billed.header is None or number is None:
        return billed
    notes = [pdf.find_undrawn(number, billed.header.size), pdf.describe_attachments() if number == 1 else None]
    return replace(billed, note="; ".join(note for note in notes if note) or None)


def _read_picture(found: Found, stream: BinaryIO, most: int | None) -> tuple[BilledPage, ...]:
    """Read the picture; with `most` given, every frame of a TIFF of several."""
    if found.page is None and (plain := read_plain_header(stream)):
        return (bill_page(found, plain),)
    stream.seek(0)
    frames = list_frames(stream)
    if found.page is not None:
        count = max(1, len(frames))
        return (
            _read_named(
                found, count, lambda page: describe_frame(frames[page - 1], count) if frames else read_header(stream)
            ),
        )
    if most is None or len(frames) < 2:
        header = describe_frame(frames[0], len(frames)) if frames else read_by_pillow(stream)
        note = f"first of {header.frames} frames" if header.frames > 1 else None
        return (bill_page(found, header, note),)
    if len(frames) > most:
        return (BilledPage(found, problem=reject_page_count(len(frames), most)),)
    return _read_each(found, len(frames), lambda number: describe_frame(frames[number - 1], len(frames)))


def _read_each(found: Found, count: int, header: Callable[[int], Header]) -> tuple[BilledPage, ...]:
    return tuple(_read_page(replace(found, page=number), header) for number in range(1, count + 1))


def _read_named(found: Found, count: int, header: Callable[[int], Header]) -> BilledPage:
    """Read the page that `found` names, of so many."""
    if found.page is not None and found.page > count:
        return BilledPage(found, problem=Problem("missing", "bill", f"{found.name}: the file has {count} pages"))
    return _read_page(found, header)


def _read_page(found: Found, header: Callable[[int], Header]) -> BilledPage:
    assert found.page is not None
    try:
        return bill_page(found, header(found.page))
    except DocumentError as error:
        return BilledPage(found, problem=_to_problem(error))


def _to_problem(error: DocumentError) -> Problem:
    return Problem(error.kind, "bill", error.message, error.final)
