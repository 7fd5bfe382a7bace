"""Rows of text in, a sheet of paper out. Text is drawn with the font that ships inside Pillow, so every machine draws alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw, ImageFont

Anchor = Literal["l", "m", "r"]


class Cell(NamedTuple):
    """Text at a share of the sheet's inner width, and which of its ends stands there."""

    text: str
    at: float = 0.0
    anchor: Anchor = "l"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its cells, or a `mark` across the sheet (`-` dashed, `=` solid, `|` bars), or nothing."""

    cells: tuple[Cell, ...] = ()
    scale: float = 1.0
    bold: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Style:
    """How a sheet looks. `pitch` is the width of every letter as a share of the size; None lets letters keep their own."""

    width: int
    size: int = 24
    margin: int = 28
    pitch: float | None = None
    spacing: float = 1.35
    ink: int = 35
    paper: tuple[int, int, int] = (250, 249, 245)
    tall: float = 1.0
    heavy: bool = False


def centre(text: str, scale: float = 1.0, *, bold: bool = False) -> Row:
    """Give a row with its text in the middle."""
    return Row((Cell(text, 0.5, "m"),), scale, bold)


def pair(left: str, right: str, scale: float = 1.0, *, bold: bool = False) -> Row:
    """Give a row with text at both ends."""
    return Row((Cell(left), Cell(right, 1.0, "r")), scale, bold)


RULE = Row(mark="-")
SOLID = Row(mark="=")
BARS = Row(mark="|", scale=2.2)
GAP = Row(scale=0.6)


def sheet(rows: list[Row], style: Style, height: int | None = None) -> Image.Image:
    """Draw rows from top to bottom; the sheet is as high as they are, or as asked."""
    lines = [round(style.size * row.scale * style.spacing * style.tall) for row in rows]
    needed = sum(lines) + 2 * style.margin
    if height and height < needed:
        raise ValueError(f"the rows need {needed} px, the sheet has {height}")
    page = Image.new("RGB", (style.width, height or needed), style.paper)
    pen, top = ImageDraw.Draw(page), style.margin
    for row, line in zip(rows, lines, strict=True):
        _row(pen, row, style, (top, line))
        top += line
    return page


def _row(pen: ImageDraw.ImageDraw, row: Row, style: Style, place: tuple[int, int]) -> None:
    top, line = place
    left, inner = style.margin, style.width - 2 * style.margin
    if row.mark:
        _mark(pen, row.mark, (left, top, left + inner, top + line), style)
    for cell in row.cells:
        image = _text(cell.text, round(style.size * row.scale), style.pitch, bold=row.bold or style.heavy)
        if style.tall != 1.0:
            image = image.resize((image.width, round(image.height * style.tall)), Image.Resampling.BICUBIC)
        x = left + inner * cell.at - image.width * {"l": 0, "m": 0.5, "r": 1}[cell.anchor]
        pen.bitmap((round(x), top + (line - image.height) // 2), image, fill=(style.ink, style.ink, style.ink))


def _mark(pen: ImageDraw.ImageDraw, mark: str, box: tuple[int, int, int, int], style: Style) -> None:
    left, top, right, bottom = box
    ink, middle, thick = (style.ink,) * 3, (top + bottom) // 2, max(1, style.size // 12)
    if mark == "=":
        pen.line((left, middle, right, middle), ink, thick)
    elif mark == "-":
        dash = style.size // 2
        for x in range(left, right - dash, 2 * dash):
            pen.line((x, middle, x + dash, middle), ink, thick)
    else:
        x, unit = left + (right - left) // 6, max(1, style.size // 10)
        for number in range(60):
            wide = unit * (1 + (number * number * 7 + number * 3) % 3)
            if number % 2 == 0 and x + wide < right - (right - left) // 6:
                pen.rectangle((x, top + 4, x + wide - 1, bottom - 4), ink)
            x += wide


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Give the font that ships inside Pillow, at a size in pixels."""
    face = ImageFont.load_default(size=size)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow is built without FreeType, and cannot draw text at a size")
    return face


def _text(text: str, size: int, pitch: float | None, *, bold: bool) -> Image.Image:
    """Draw text as a mask: each letter in a cell of its own where the till has a pitch, else word by word."""
    face, stroke = font(size), max(1, size // 32) if bold else 0
    pieces = list(text) if pitch else text.split(" ")
    gap = face.getlength(" ") + (size / 7 if bold else 0)  # bold letters eat into the spaces beside them
    steps = [size * pitch if pitch else face.getlength(piece) + gap for piece in pieces]
    mask = Image.new(
        "L", (max(1, round(sum(steps) - (0 if pitch else gap))) + 2 * stroke + 2, round(size * 1.3) + 2 * stroke)
    )
    left = stroke + 1.0
    for piece, step in zip(pieces, steps, strict=True):
        if pitch:
            stamp = _stamp(piece, size, step, stroke)
            mask.paste(stamp, (round(left + (step - stamp.width) / 2), 0), stamp)
        else:
            ImageDraw.Draw(mask).text((left, _base(size, stroke)), piece, 255, face, anchor="ls", stroke_width=stroke)
        left += step
    return mask


def _base(size: int, stroke: int) -> int:
    """Where letters stand in a mask that has room for what hangs below."""
    return round(size * 0.98) + stroke


@lru_cache(maxsize=2048)
def _stamp(letter: str, size: int, cell: float, stroke: int) -> Image.Image:
    """Draw one letter of a till, squeezed where it is wider than its cell."""
    face = font(size)
    width = max(1, round(face.getlength(letter)) + 2 * stroke)
    stamp = Image.new("L", (width, round(size * 1.3) + 2 * stroke))
    ImageDraw.Draw(stamp).text((stroke, _base(size, stroke)), letter, 255, face, anchor="ls", stroke_width=stroke)
    return stamp if width <= cell else stamp.resize((max(1, int(cell)), stamp.height), Image.Resampling.LANCZOS)
