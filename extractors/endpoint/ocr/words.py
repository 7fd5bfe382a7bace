"""What was read: words with boxes, put upright and into lines, page by page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Quad: TypeAlias = "Sequence[tuple[float, float]]"  # top left, top right, bottom right, bottom left


@dataclass(frozen=True, slots=True)
class Word:
    """One piece of text that the reader saw as a whole (often several words), and where it stands.

    `score` is the mean probability of its characters.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """Its height on the page."""
        return (self.top + self.bottom) / 2

    def over(self, other: Word) -> bool:
        """Whether the two share a stretch of the page's width."""
        return min(self.right, other.right) > max(self.left, other.left)


@dataclass(frozen=True)
class Line:
    """The words that stand beside each other, from left to right."""

    words: tuple[Word, ...]

    @cached_property
    def text(self) -> str:
        """Its words, a space between."""
        return " ".join(word.text for word in self.words)

    @cached_property
    def height(self) -> float:
        """The height of its tallest word."""
        return max(word.height for word in self.words)

    def over(self, other: Line) -> bool:
        """Whether the two share a stretch of the page's width."""
        return min(self.words[-1].right, other.words[-1].right) > max(self.words[0].left, other.words[0].left)

    @cached_property
    def groups(self) -> tuple[Line, ...]:
        """The line's parts that a wide gap keeps apart: columns, menu entries, a name and a heading."""
        parts: list[list[Word]] = [[]]
        for word in self.words:
            if parts[-1] and word.left - parts[-1][-1].right > 1.5 * max(word.height, parts[-1][-1].height):
                parts.append([])
            parts[-1].append(word)
        return tuple(Line(tuple(part)) for part in parts)


@dataclass(frozen=True)
class OcrDocument:
    """Everything that was read of one request's pictures."""

    pages: tuple[tuple[Line, ...], ...]

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all pages, in reading order."""
        return tuple(line for page in self.pages for line in page)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The text of every part of every line."""
        return tuple(group.text for line in self.lines for group in line.groups)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The text of every line."""
        return tuple(line.text for line in self.lines)


class Seen(NamedTuple):
    """A piece of text as the reader gives it."""

    text: str
    quad: Quad
    score: float = 1.0


def turn_upright(read: Iterable[Seen]) -> list[Word]:
    """Boxes of a picture that was held at a slant, turned straight by the median slope of its wide words."""
    found = list(read)
    slopes = [
        (right[1] - left[1]) / (right[0] - left[0])
        for left, right, _, lower in (each.quad for each in found)
        if right[0] - left[0] > 4 * abs(lower[1] - left[1])
    ]
    angle = -math.atan(median(slopes)) if slopes else 0.0
    sine, cosine = math.sin(angle), math.cos(angle)
    return [_build_word(each, [(x * cosine - y * sine, x * sine + y * cosine) for x, y in each.quad]) for each in found]


def group_lines(words: Iterable[Word]) -> tuple[Line, ...]:
    """Words in lines, from top to bottom: a word joins the line whose middle it shares."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=lambda each: each.middle):
        home = next((row for row in reversed(rows[-3:]) if _is_beside(word, row)), None)
        if home is None:
            rows.append([word])
        else:
            home.append(word)
    return tuple(Line(tuple(sorted(row, key=lambda each: each.left))) for row in rows)


def _build_word(seen: Seen, quad: Quad) -> Word:
    across, down = [x for x, _ in quad], [y for _, y in quad]
    return Word(seen.text, min(across), min(down), max(across), max(down), seen.score)


def _is_beside(word: Word, row: list[Word]) -> bool:
    middle = sum(each.middle for each in row) / len(row)
    return abs(middle - word.middle) < 0.5 * min(word.height, row[0].height)
