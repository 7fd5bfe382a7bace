"""The words of a page with their boxes as JSON: what the process that reads for the witness answers.

A page is a list of lines from top to bottom, and a line a list of words from left to right, each as
`[text, x, y, width, height, spaced]`: its box in the pixels of the picture, and whether a space stands before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from extractors.endpoint.ocr.words import Seen, group_lines, turn_upright

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.endpoint.ocr.words import Quad

WordCells = list[str | float | bool]


class Piece(NamedTuple):
    """A piece of text as the reader gives it, with its words and their corners; without words it is one.

    `quad` orders it in lines; `place` is where it stands in the picture, if the picture was turned to be read.
    """

    text: str
    quad: Quad
    score: float
    words: Sequence[tuple[str, Quad]] = ()
    place: Quad | None = None


def list_lines(pieces: Sequence[Piece]) -> list[list[WordCells]]:
    """The lines of a page; on a slanted picture, too, the words beside each other are one line."""
    upright = turn_upright(Seen(piece.text, piece.quad, piece.score) for piece in pieces)
    origin = {id(word): piece for word, piece in zip(upright, pieces, strict=True)}
    return [[cells for word in line.words for cells in _list_words(origin[id(word)])] for line in group_lines(upright)]


def _list_words(piece: Piece) -> Iterator[WordCells]:
    """The words of a piece in the order of its text; the first begins after a space."""
    at = 0
    for text, quad in piece.words or ((piece.text, piece.place or piece.quad),):
        found = piece.text.find(text, at)
        spaced = not at or (found > 0 and piece.text[found - 1].isspace())
        at = found + len(text) if found >= 0 else at
        across, down = [x for x, _ in quad], [y for _, y in quad]
        left, top = min(across), min(down)
        yield [text, left, top, max(across) - left, max(down) - top, spaced]
