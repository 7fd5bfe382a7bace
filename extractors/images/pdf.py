"""Measures and draws the pages of a PDF through PDFium.

PDFium is not thread-safe, not even with one document a thread: one lock of the whole process is held as long as a PDF is
open, and every handle is closed before the lock is released. The extra `pdf` installs PDFium; it is imported on first use.
"""

from __future__ import annotations

import ctypes
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from PIL import Image

from extractors.core.errors import DocumentError
from extractors.core.tiles import TILE_NATIVE, Size
from extractors.images.pdf_content import find_undrawn, has_broken_image, has_cut_image, measure_content
from extractors.images.support import INSTALL_PDF

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import SecretStr

DPI = 200  # what offices scan at: 8 pt print is 22 px high, and A4 is 1654x2339, about all that a tile rule sees
MOST_PIXELS = 100_000_000
LONGEST = 10_000  # px; A0 at 200 dpi is 9,362, and 100 million pixels are half of what a picture may have
_MARK, _WITHIN = b"%PDF-", 1024  # readers accept what mail servers and printers put before it
_PICTURES = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II", b"MM", b"BM")  # in their metadata the mark may stand
_WAIT = re.compile(r"please wait|cannot display this type|Adobe Reader \d", re.IGNORECASE)
_SMALL = 600  # px, the longest side at which text is looked for
_MOST_NAMES, _MOST_LETTERS = 3, 2000
_LOCK = Lock()


def is_pdf(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is a PDF, regardless of its name."""
    return _MARK in head[:_WITHIN] and not head.startswith(_PICTURES)


@contextmanager
def open_pdf(data: bytes, stage: str, passwords: Sequence[SecretStr] = ()) -> Iterator[Pdf]:
    """Open the PDF of these bytes for this thread, with the first password that fits; others wait until it is closed.

    Raises DocumentError of `stage`: `password` for one that none opens, `unreadable` for what is broken, `empty` for one
    without pages, `viewer_only` for a form that only Adobe's viewer shows, `not_an_image` without the extra.
    """
    with _LOCK:
        raw = _import_pdfium(stage)
        document = _load_document(raw, data, passwords)
        if not document:
            raise _explain_refusal(raw, stage)
        try:
            pages = raw.FPDF_GetPageCount(document)
            if pages < 1:
                raise DocumentError("the PDF has no pages", kind="empty", stage=stage)
            with _open_forms(raw, document) as forms:
                pdf = Pdf(raw, document, forms, pages, stage)
                pdf.check_viewer()
                yield pdf
        finally:
            raw.FPDF_CloseDocument(document)


@dataclass(frozen=True, slots=True)
class Pdf:
    """An open PDF and how many pages it has; they count from 1. `forms` are what is filled in, None without."""

    raw: Any  # Any: pypdfium2 ships no types
    document: Any
    forms: Any
    pages: int
    stage: str

    def measure(self, number: int) -> Size:
        """Measure a page in pixels: its crop box, upright. Raises DocumentError for a broken page.

        The images that fill the page decide, with text over them at 200 dpi at least. Other pages have 200 dpi and at
        least the pixels that tile models see. No page has more than LONGEST a side or MOST_PIXELS.
        """
        points = self.raw.FS_SIZEF()
        if not self.raw.FPDF_GetPageSizeByIndexF(self.document, number - 1, points):
            raise self._page_error("cannot be opened")
        if not (0 < points.width < math.inf and 0 < points.height < math.inf):
            raise self._page_error("has no area")
        width, height = float(points.width), float(points.height)
        with self._load_page(number) as page:
            density, has_text = measure_content(self.raw, page, width * height)
        if density is None:
            scale = max(DPI / 72, TILE_NATIVE / max(width, height))
        else:
            scale = max(density, DPI / 72) if has_text else density
        scale = min(scale, LONGEST / max(width, height), math.sqrt(MOST_PIXELS / (width * height)))
        return Size(max(1, round(width * scale)), max(1, round(height * scale)))

    def find_undrawn(self, number: int, size: Size) -> str | None:
        """Describe text of a page that leaves no ink when it is drawn; None where all of it does."""
        with self._load_page(number) as page:
            return find_undrawn(self.raw, page, size.scale_to(_SMALL), lambda small: self._draw(page, small))

    def describe_attachments(self) -> str | None:
        """Describe the files that the PDF carries, which are not read; None where it has none."""
        count = self.raw.FPDFDoc_GetAttachmentCount(self.document)
        if count < 1:
            return None
        names = ", ".join(self._read_attachment_name(place) for place in range(min(count, _MOST_NAMES)))
        return f"{count} attachments of the PDF are not read: {names}{', ...' if count > _MOST_NAMES else ''}"

    def _read_attachment_name(self, place: int) -> str:
        attachment = self.raw.FPDFDoc_GetAttachment(self.document, place)
        length = self.raw.FPDFAttachment_GetName(attachment, None, 0)
        buffer = (ctypes.c_ushort * (length // 2 + 1))()
        self.raw.FPDFAttachment_GetName(attachment, buffer, length)
        return bytes(buffer)[: max(0, length - 2)].decode("utf-16-le", "replace")

    def check_viewer(self) -> None:
        """Raise DocumentError `viewer_only` for an XFA form whose pages only say that another viewer is needed."""
        kind = self.raw.FPDF_GetFormType(self.document)
        static = kind == self.raw.FORMTYPE_XFA_FOREGROUND and not _WAIT.search(self._read_page_text(1))
        if kind not in {self.raw.FORMTYPE_XFA_FULL, self.raw.FORMTYPE_XFA_FOREGROUND} or static:
            return
        message = "an XFA form, which only Adobe's viewer shows: print it to a PDF from there"
        raise DocumentError(message, kind="viewer_only", stage=self.stage)

    def _read_page_text(self, number: int) -> str:
        with self._load_page(number) as page:
            letters = self.raw.FPDFText_LoadPage(page)
            count = min(self.raw.FPDFText_CountChars(letters), _MOST_LETTERS)
            buffer = (ctypes.c_ushort * (count + 1))()
            self.raw.FPDFText_GetText(letters, 0, count, buffer)
            self.raw.FPDFText_ClosePage(letters)
        return bytes(buffer).decode("utf-16-le", "replace")

    def render(self, number: int, size: Size) -> Image.Image:
        """Draw a page in RGB at this size, on white, with its annotations and form fields.

        Raises DocumentError for a broken page, for one that is blank because its image cannot be decoded, and for one
        with an image that breaks off.
        """
        with self._load_page(number) as page:
            picture = self._draw(page, size)
            if _is_uniform(picture) and has_broken_image(self.raw, page):
                raise self._page_error("shows an image that cannot be decoded")
            if has_cut_image(self.raw, page):
                raise self._page_error("shows a JPEG that breaks off")
            return picture

    def _draw(self, page: Any, size: Size) -> Image.Image:
        raw, stride = self.raw, 4 * math.ceil(3 * size.width / 4)
        flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
        pixels = (ctypes.c_ubyte * (stride * size.height))()
        bitmap = raw.FPDFBitmap_CreateEx(size.width, size.height, raw.FPDFBitmap_BGR, pixels, stride)
        if not bitmap:
            raise self._page_error(f"cannot be rendered at {size.width}x{size.height} px")
        try:
            where = (0, 0, size.width, size.height, 0, flags)
            raw.FPDFBitmap_FillRect(bitmap, 0, 0, size.width, size.height, 0xFFFFFFFF)
            raw.FPDF_RenderPageBitmap(bitmap, page, *where)
            if self.forms:
                raw.FPDF_FFLDraw(self.forms, bitmap, page, *where)
        finally:
            raw.FPDFBitmap_Destroy(bitmap)
        return Image.frombytes("RGB", size, memoryview(pixels), "raw", "RGB", stride)

    @contextmanager
    def _load_page(self, number: int) -> Iterator[Any]:
        page = self.raw.FPDF_LoadPage(self.document, number - 1)
        if not page:
            raise self._page_error("cannot be opened")
        try:
            if self.forms:
                self.raw.FORM_OnAfterLoadPage(page, self.forms)
            yield page
        finally:
            if self.forms:
                self.raw.FORM_OnBeforeClosePage(page, self.forms)
            self.raw.FPDF_ClosePage(page)

    def _page_error(self, what: str) -> DocumentError:
        return DocumentError(f"the page {what}", kind="unreadable", stage=self.stage)


def _is_uniform(picture: Image.Image) -> bool:
    return all(low == high for low, high in picture.getextrema())  # type: ignore[misc]  # a pair for each of three bands; Pillow's type also allows one band


def _import_pdfium(stage: str) -> Any:
    """Import PDFium's C functions: the finalizers of pypdfium2's own classes would call it outside the lock."""
    try:
        import pypdfium2.raw  # noqa: PLC0415 - an extra, and heavy
    except ImportError:
        message = f"a PDF, which nothing here can read: {INSTALL_PDF}"
        raise DocumentError(message, kind="not_an_image", stage=stage, final=False) from None
    return pypdfium2.raw


def _load_document(raw: Any, data: bytes, passwords: Sequence[SecretStr]) -> Any:
    """Load the document, without a password first; old encryption takes Latin-1, new takes UTF-8."""
    texts = [each.get_secret_value() for each in passwords]
    encoded = [text.encode(code, "replace") for text in texts for code in ("utf-8", "latin-1")]
    document = raw.FPDF_LoadMemDocument64(data, len(data), None)
    for password in dict.fromkeys(encoded):
        if document or raw.FPDF_GetLastError() != raw.FPDF_ERR_PASSWORD:
            break
        document = raw.FPDF_LoadMemDocument64(data, len(data), password)
    return document


def _explain_refusal(raw: Any, stage: str) -> DocumentError:
    """Describe why the last document was not opened; one with an empty user password opens without one."""
    if raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD:
        message = "the PDF can be opened with a password only: add it to TILEWISE_PDF_PASSWORDS"
        return DocumentError(message, kind="password", stage=stage, final=False)
    return DocumentError("the PDF is broken: it cannot be opened", kind="unreadable", stage=stage)


@contextmanager
def _open_forms(raw: Any, document: Any) -> Iterator[Any]:
    """Open the environment that draws form fields, which are no part of the pages; None without a form."""
    if raw.FPDF_GetFormType(document) == raw.FORMTYPE_NONE:
        yield None
        return
    how = raw.FPDF_FORMFILLINFO(version=2)  # kept until the end: PDFium keeps its address
    forms = raw.FPDFDOC_InitFormFillEnvironment(document, how)
    try:
        yield forms
    finally:
        raw.FPDFDOC_ExitFormFillEnvironment(forms)
