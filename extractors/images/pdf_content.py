"""Inspects what stands on an open PDF page: the resolution of the images that fill it, and text that is not drawn.

Every function expects PDFium's lock to be held and the page to stay open.
"""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from extractors.images.ending import is_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

    from extractors.core.tiles import Size

UNDRAWN = "text that is not drawn"
_FILLS = 0.5  # of the page's area
_MOST_OBJECTS, _DEEPEST = 5000, 4  # of a page that are looked at, and forms within forms
_LEAST_POINTS = 4.0  # text smaller than this leaves no ink in a small drawing
_MOST_FONTS = 3  # that are named
_MOST_LETTERS = 2000  # of a page that are looked at
_JPEG = b"\xff\xd8"
_MISSING = 0.2  # of the letters in fonts that are not embedded


class Content(NamedTuple):
    """What decides at which size a page is drawn: pixels a point of the images that fill it, and visible text."""

    density: float | None
    has_text: bool


class Letter(NamedTuple):
    """A visible letter or digit: where it stands, in points, and its font."""

    bounds: tuple[float, float, float, float]
    font: str
    embedded: bool


def iterate_objects(raw: Any, page: Any) -> Iterator[Any]:
    """Give the page's objects, also those inside forms, up to a limit."""
    left = _MOST_OBJECTS
    open_forms = [(raw.FPDFPage_GetObject, page, raw.FPDFPage_CountObjects(page), 0)]
    while open_forms:
        get, parent, count, depth = open_forms.pop()
        for place in range(min(count, left)):
            found = get(parent, place)
            left -= 1
            if found and raw.FPDFPageObj_GetType(found) == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
                inner = raw.FPDFFormObj_CountObjects(found)
                open_forms.append((raw.FPDFFormObj_GetObject, found, inner, depth + 1))
            elif found:
                yield found


def measure_content(raw: Any, page: Any, area: float) -> Content:
    """Measure the pixels a point of the images that fill the page, by themselves or in strips."""
    objects = list(iterate_objects(raw, page))
    images = [image for image in (_measure_image(raw, each) for each in objects) if image]
    has_text = any(_is_visible_text(raw, each) for each in objects)
    filling = [pixels / covered for pixels, covered in images if covered >= _FILLS * area]
    if filling:
        return Content(math.sqrt(max(filling)), has_text)
    covered = sum(covered for _, covered in images)
    if covered < _FILLS * area:
        return Content(None, has_text)
    return Content(math.sqrt(sum(pixels for pixels, _ in images) / covered), has_text)


def has_broken_image(raw: Any, page: Any) -> bool:
    """Tell whether an image of the page cannot be decoded: it is not drawn, and no error is told."""
    for image in _iterate_images(raw, page):
        bitmap = raw.FPDFImageObj_GetBitmap(image)
        if not bitmap:
            return True
        raw.FPDFBitmap_Destroy(bitmap)
    return False


def has_cut_image(raw: Any, page: Any) -> bool:
    """Tell whether a JPEG of the page breaks off: it is drawn as far as it goes, and no error is told."""
    for image in _iterate_images(raw, page):
        length = raw.FPDFImageObj_GetImageDataRaw(image, None, 0)
        data = (ctypes.c_ubyte * length)()
        raw.FPDFImageObj_GetImageDataRaw(image, data, length)
        if bytes(data[:2]) == _JPEG and is_cut(bytes(data)):
            return True
    return False


def _iterate_images(raw: Any, page: Any) -> Iterator[Any]:
    return (each for each in iterate_objects(raw, page) if raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_IMAGE)


def _is_visible_text(raw: Any, found: Any) -> bool:
    kind = raw.FPDFPageObj_GetType(found)
    invisible = raw.FPDF_TEXTRENDERMODE_INVISIBLE
    return bool(kind == raw.FPDF_PAGEOBJ_TEXT and raw.FPDFTextObj_GetTextRenderMode(found) != invisible)


def _measure_image(raw: Any, found: Any) -> tuple[float, float] | None:
    """Measure an image object's pixels and the area in square points that it covers."""
    if raw.FPDFPageObj_GetType(found) != raw.FPDF_PAGEOBJ_IMAGE:
        return None
    width, height = ctypes.c_uint(), ctypes.c_uint()
    left, bottom, right, top = bounds = _measure_bounds(raw, found)
    covered = (right - left) * (top - bottom)
    if not raw.FPDFImageObj_GetImagePixelSize(found, width, height) or not all(map(math.isfinite, bounds)):
        return None
    return (float(width.value * height.value), covered) if covered > 0 else None


def _measure_bounds(raw: Any, found: Any) -> tuple[float, float, float, float]:
    sides = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(found, *sides)
    left, bottom, right, top = (side.value for side in sides)
    return left, bottom, right, top


def find_undrawn(raw: Any, page: Any, size: Size, drawing: Callable[[Size], Image.Image]) -> str | None:
    """Describe text that leaves no ink, by drawing the page once at this small size; None where all text is drawn."""
    letters = _list_letters(raw, page)
    if not letters:
        return None
    picture = drawing(size).convert("L")
    low, high = picture.getextrema()
    if low == high:
        return _explain(letters)
    foreign = [letter for letter in letters if not letter.embedded]
    missing = [letter for letter in foreign if _is_blank(raw, page, picture, letter)]
    return _explain(missing) if len(missing) > _MISSING * len(foreign) else None


def _explain(letters: list[Letter]) -> str:
    fonts = sorted({letter.font for letter in letters if not letter.embedded and letter.font})
    if not fonts:
        return UNDRAWN
    return f"{UNDRAWN}, in fonts neither embedded nor installed: {', '.join(fonts[:_MOST_FONTS])}"


def _list_letters(raw: Any, page: Any) -> list[Letter]:
    """List the visible letters of the page, up to a limit: what a scanner recognized lies invisible over its image."""
    text = raw.FPDFText_LoadPage(page)
    fonts: dict[int, tuple[str, bool]] = {}
    letters = []
    try:
        for place in range(min(raw.FPDFText_CountChars(text), _MOST_LETTERS)):
            found = raw.FPDFText_GetTextObject(text, place)
            if not chr(raw.FPDFText_GetUnicode(text, place)).isalnum() or not found:
                continue
            if raw.FPDFTextObj_GetTextRenderMode(found) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
                continue
            font = raw.FPDFTextObj_GetFont(found)
            key = ctypes.addressof(font.contents)
            if key not in fonts:
                fonts[key] = _read_name(raw, font), raw.FPDFFont_GetIsEmbedded(font) == 1
            letters.append(Letter(_measure_letter(raw, text, place), *fonts[key]))
    finally:
        raw.FPDFText_ClosePage(text)
    return letters


def _measure_letter(raw: Any, text: Any, place: int) -> tuple[float, float, float, float]:
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text, place, box)
    return box.left, box.bottom, box.right, box.top


def _read_name(raw: Any, font: Any) -> str:
    buffer = ctypes.create_string_buffer(100)
    raw.FPDFFont_GetBaseFontName(font, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


def _is_blank(raw: Any, page: Any, picture: Image.Image, letter: Letter) -> bool:
    """Tell whether nothing is drawn where a letter stands; it must be large enough to leave a trace."""
    if letter.bounds[3] - letter.bounds[1] < _LEAST_POINTS:
        return False
    box = _locate(raw, page, picture, letter)
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        return False  # outside what is shown
    low, high = picture.crop(box).getextrema()
    return low == high


def _locate(raw: Any, page: Any, picture: Image.Image, letter: Letter) -> tuple[int, int, int, int]:
    """The box of a letter in the pixels of the picture: left, top, right, bottom, within its edges."""
    left, bottom, right, top = letter.bounds
    corners = []
    for x, y in ((left, top), (right, bottom)):
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, *picture.size, 0, x, y, across, down)
        corners.append((across.value, down.value))
    (x0, x1), (y0, y1) = (sorted(values) for values in zip(*corners, strict=True))
    return max(0, x0), max(0, y0), min(picture.width, x1 + 1), min(picture.height, y1 + 1)
