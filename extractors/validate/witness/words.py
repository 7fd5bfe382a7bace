"""The words of a page with their boxes, and its text: every place of the text has a box in the picture."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from extractors.core.evidence import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Letters that OCR reads for digits, where digits or the marks of a number stand beside them.
_LIKE_ZERO = re.compile(r"(?<=\d)[Oo](?![^\W\d_])|(?<=\d)[Oo](?=\d)|(?<![^\W\d_])[Oo](?=[.,]\d\d|\d[/.\-])")
_LIKE_ONE = re.compile(r"(?<=\d)[Il|](?![^\W\d_])|(?<=\d)[Il|](?=\d)|(?<![^\W\d_])[Il|](?=[.,]\d\d|\d[/.\-])")
# Signs that stand for those of numbers: minus, marks of thousands, of decimals (the Arabic ones, and a middle dot).
_SIGNS = str.maketrans(
    {"\u2212": "-", "\u2010": "-", "\u2013": "-", "\u00a0": " "}
    | dict.fromkeys("\u2018\u2019\u2032\u00b4`", "'")
    | {"\u066b": ".", "\u00b7": ".", "\u066c": ",", "\u060c": ","}
)
_COLUMN_GAP = 1.5  # times the height of a word: a wider gap separates columns
_LINE_GAP = 1.6  # times the height of a line: a wider gap ends a paragraph


@dataclass(frozen=True, slots=True)
class PageWord:
    """A word that OCR has read, in the upright original's pixels; `spaced`: a space stands before it."""

    text: str
    box: Box
    spaced: bool = True


@dataclass(frozen=True, slots=True)
class PageLine:
    """The words that stand beside each other, from left to right; at least one."""

    words: tuple[PageWord, ...]

    @property
    def box(self) -> Box:
        """The box around its words."""
        return Box.around(word.box for word in self.words)

    def split_columns(self) -> Iterator[PageLine]:
        """Its parts that wide gaps separate."""
        part: list[PageWord] = []
        for word in self.words:
            if part and word.box.x - part[-1].box.right > _COLUMN_GAP * max(word.box.height, part[-1].box.height):
                yield PageLine(tuple(part))
                part = []
            part.append(word)
        yield PageLine(tuple(part))


@dataclass(frozen=True)
class PageText:
    """The text of some lines in their order, a line break between; the letters that stand for digits are digits."""

    lines: tuple[PageLine, ...]

    @cached_property
    def text(self) -> str:
        """The text; as long as what was read."""
        text = narrow_text(self._parts[0])
        return _LIKE_ONE.sub("1", _LIKE_ZERO.sub("0", text))

    @cached_property
    def _parts(self) -> tuple[str, list[tuple[int, int]], list[PageWord], list[int]]:
        """The raw text, the span of each word, the words, and the number of the line of each word."""
        pieces, spans, words, owners, length = [], [], [], [], 0
        for number, line in enumerate(self.lines):
            for place, word in enumerate(line.words):
                before = "" if not place else " " if word.spaced else ""
                before = "\n" if not place and number else before
                pieces.append(before + word.text)
                spans.append((length + len(before), length + len(before) + len(word.text)))
                length = spans[-1][1]
                words.append(word)
                owners.append(number)
        return "".join(pieces), spans, words, owners

    def find_box(self, start: int, end: int) -> Box:
        """The box of a part of the text: of a part of a word, a part of its box."""
        _, spans, words, _ = self._parts
        place = self._find_word(start)
        boxes = []
        while place < len(spans) and spans[place][0] < end:
            first, last = spans[place]
            share = max(1, last - first)
            boxes.append(words[place].box.slice((max(start, first) - first) / share, (min(end, last) - first) / share))
            place += 1
        return Box.around(boxes)

    def find_line(self, place: int) -> int:
        """The number of the line at this place of the text."""
        return self._parts[3][min(self._find_word(place), len(self._parts[3]) - 1)]

    def _find_word(self, place: int) -> int:
        """The first word that ends behind this place, by bisection."""
        spans = self._parts[1]
        low, high = 0, len(spans)
        while low < high:
            middle = (low + high) // 2
            if spans[middle][1] <= place:
                low = middle + 1
            else:
                high = middle
        return low


def narrow_text(text: str) -> str:
    """The text with usual letters, digits and signs; as long as before."""
    return "".join(map(_narrow, text)).translate(_SIGNS)


def _narrow(character: str) -> str:
    """The usual form of a wide letter or sign, where that is one character, and of a digit of any script."""
    plain = unicodedata.normalize("NFKC", character)
    plain = plain if len(plain) == 1 else character
    return str(unicodedata.decimal(plain)) if plain.isdecimal() else plain


def order_by_columns(lines: Sequence[PageLine]) -> tuple[PageLine, ...]:
    """The parts of the lines as columns read: below each part comes what stands under it."""
    parts = [part for line in lines for part in line.split_columns()]
    boxes = [part.box for part in parts]
    followers = _link(boxes)
    continued = set(followers.values())
    ordered: list[PageLine] = []
    for first in range(len(parts)):
        place: int | None = first if first not in continued else None
        while place is not None:
            ordered.append(parts[place])
            place = followers.get(place)
    return tuple(ordered)


def _link(boxes: Sequence[Box]) -> dict[int, int]:
    """For each part the part under it, if one stands close; no part stands under two."""
    followers: dict[int, int] = {}
    taken: set[int] = set()
    for upper, box in enumerate(boxes):
        for lower in _iter_near(boxes, upper):
            gap = boxes[lower].y - box.bottom
            if lower not in taken and -box.height / 2 < gap < _LINE_GAP * box.height and box.is_over(boxes[lower]):
                followers[upper] = lower
                taken.add(lower)
                break
    return followers


def _iter_near(boxes: Sequence[Box], upper: int) -> Iterable[int]:
    """The next parts that begin lower than this one, in their order."""
    return (
        lower for lower in range(upper + 1, min(upper + 40, len(boxes))) if boxes[lower].middle > boxes[upper].middle
    )
