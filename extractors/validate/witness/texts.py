"""Texts in a text: without regard to case, accents, spaces, line breaks and punctuation; digits must be the same.

Of a text of at least six letters, 15 % of its letters may differ, as OCR misreads them; `0` and `O`, `1` and `l`, `5` and
`S`, `8` and `B` count as equal. A digit never stands for another digit.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from difflib import Match

LEAST_RATIO = 0.85  # the share of equal letters of a text that counts as read with errors
_LEAST_FUZZY, _MOST_FUZZY = 6, 200  # letters: a shorter text must be the same, a longer one is searched in parts
_PART = 80  # letters of a part of a long text
_LEAST_PARTS = 0.8  # the share of the parts of a long text that must be found
_SHORT = 4  # letters: a shorter text must be a word of its own
_GRAM, _MOST_GRAMS, _MOST_WINDOWS = 3, 12, 4
_LOOKALIKES = str.maketrans("01i58", "ollsb")


class TextPlace(NamedTuple):
    """A part of a text; `is_whole`: no letter or digit touches it."""

    start: int
    end: int
    is_whole: bool = True


@dataclass(frozen=True)
class FoldedText:
    """A text that is searched: its letters and digits in one case, and the place of each in the text."""

    text: str

    @cached_property
    def _folded(self) -> tuple[str, list[int]]:
        return fold_text(self.text)

    @cached_property
    def _loose(self) -> str:
        return self._folded[0].translate(_LOOKALIKES)

    def find(self, wanted: str) -> list[TextPlace]:
        """The places of a text, those where it stands as words of its own first."""
        value, _ = fold_text(wanted)
        if not value:
            return []
        if len(value) > _MOST_FUZZY:
            return self._find_long(wanted)
        places = list(self._find_exact(value, self._folded[0])) or list(
            self._find_exact(value.translate(_LOOKALIKES), self._loose)
        )
        if not places and len(value) >= _LEAST_FUZZY:
            places = list(self._find_similar(value))
        return sorted(places, key=lambda place: not place.is_whole)

    def _find_exact(self, value: str, folded: str) -> Iterator[TextPlace]:
        at = folded.find(value)
        while at >= 0:
            place = self._build_place(at, at + len(value))
            if not self._cuts_number(place) and (place.is_whole or len(value) >= _SHORT):
                yield place
            at = folded.find(value, at + 1)

    def _find_similar(self, value: str) -> Iterator[TextPlace]:
        """The place of a text of which some letters were misread; every digit must be the same."""
        loose, folded = value.translate(_LOOKALIKES), self._loose
        best, chosen = LEAST_RATIO, None
        for start in _list_starts(loose, folded):
            end = min(len(folded), start + len(loose) + 1)
            matcher = SequenceMatcher(None, loose, folded[start:end], autojunk=False)
            blocks = [block for block in matcher.get_matching_blocks() if block.size]
            if not blocks:
                continue
            first, last = start + blocks[0].b, start + blocks[-1].b + blocks[-1].size
            ratio = 2 * sum(block.size for block in blocks) / (len(loose) + last - first)
            place = self._build_place(first, last)
            if ratio >= best and not self._cuts_number(place) and self._keeps_digits(value, start, blocks, place):
                best, chosen = ratio, place
        if chosen:
            yield chosen

    def _keeps_digits(self, value: str, start: int, blocks: Sequence[Match], place: TextPlace) -> bool:
        """Whether each digit of the value, and of the place, is matched by an equal character."""
        matched = {block.a + step for block in blocks for step in range(block.size)}
        covered = {start + block.b + step for block in blocks for step in range(block.size)}
        digits = {at for at, character in enumerate(value) if character.isdigit()}
        folded, places = self._folded
        printed = {at for at, where in enumerate(places) if place.start <= where < place.end and folded[at].isdigit()}
        return digits <= matched and printed <= covered

    def _find_long(self, wanted: str) -> list[TextPlace]:
        """The place of a long text: from the first to the last of its parts, where most of them are found."""
        parts = _split_text(wanted)
        found = [places[0] for part in parts if (places := self.find(part))]
        if len(found) < _LEAST_PARTS * len(parts):
            return []
        return [TextPlace(min(place.start for place in found), max(place.end for place in found))]

    def _build_place(self, first: int, last: int) -> TextPlace:
        """The place of the folded characters from `first` to before `last`."""
        start, end = self._folded[1][first], self._folded[1][last - 1] + 1
        touched = self.text[start - 1 : start].isalnum() if start else False
        return TextPlace(start, end, not touched and not self.text[end : end + 1].isalnum())

    def _cuts_number(self, place: TextPlace) -> bool:
        """Whether a digit at an end of the place belongs to a longer number: `12.50` is not in `112.50`."""
        text, (start, end, _) = self.text, place
        before = text[start - 1 : start] if start else ""
        if text[start].isdigit() and (before.isdigit() or (before in {".", ",", "'"} and text[start - 2].isdigit())):
            return True
        after, beyond = text[end : end + 1], text[end + 1 : end + 2]
        return text[end - 1].isdigit() and (after.isdigit() or (after in {".", ",", "'"} and beyond.isdigit()))


def fold_text(text: str) -> tuple[str, list[int]]:
    """Its letters and digits in one case without accents, and the place of each; a point stays between digits."""
    folded: list[str] = []
    places: list[int] = []
    for at, character in enumerate(text):
        plain = unicodedata.normalize("NFKD", character).casefold()
        kept = "".join(_fold_digit(each) for each in plain if each.isalnum())
        if character in ".," and 0 < at < len(text) - 1 and text[at - 1].isdigit() and text[at + 1].isdigit():
            kept = "."
        folded.append(kept)
        places += [at] * len(kept)
    return "".join(folded), places


def _fold_digit(character: str) -> str:
    """A digit of any script as one of ours."""
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


def _list_starts(value: str, folded: str) -> list[int]:
    """Where a similar text may begin: where several of its groups of three letters stand in their order."""
    votes: Counter[int] = Counter()
    step = max(1, (len(value) - _GRAM) // _MOST_GRAMS)
    for offset in range(0, len(value) - _GRAM + 1, step):
        at = folded.find(value[offset : offset + _GRAM])
        while at >= 0:
            votes[max(0, at - offset) // 2 * 2] += 1
            at = folded.find(value[offset : offset + _GRAM], at + 1)
    return [max(0, start - 1) for start, _ in votes.most_common(_MOST_WINDOWS)]


def _split_text(text: str) -> list[str]:
    """The words of a long text in parts of some eighty letters."""
    parts, part = [], ""
    for word in re.findall(r"\S+", text):
        part = f"{part} {word}"
        if len(part) > _PART:
            parts.append(part)
            part = ""
    return [*parts, part] if part else parts
