"""Tables: words that stand under each other in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extractors.endpoint.ocr.words import Line, OcrDocument, Word


@dataclass(frozen=True, slots=True)
class TextTable:
    """A header, rows of as many cells, and what stands above."""

    title: str | None
    columns: list[str]
    rows: list[list[str]]


def find_table(document: OcrDocument) -> TextTable | None:
    """The longest run of lines that have several words each, the first of them as the header."""
    lines = document.lines
    start, end = _longest(lines)
    if end - start < 2:
        return None
    run = lines[start:end]
    widest = max(run, key=lambda line: len(line.words)).words
    header, *rows = (_cells(line, widest) for line in run)
    return TextTable(lines[start - 1].text if start else None, header, rows)


def find_title(document: OcrDocument) -> str | None:
    """The text that is written largest in the upper half; of equal ones the first."""
    lines = document.lines[: max(3, len(document.lines) // 2)]
    tall = max((line.height for line in lines), default=0.0)
    return next((line.text for line in lines if line.height >= 0.9 * tall and len(line.text) > 1), None)


def _longest(lines: tuple[Line, ...]) -> tuple[int, int]:
    best, start = (0, 0), 0
    for number, line in enumerate([*lines, None]):
        if line is None or len(line.words) < 2:
            best = max(best, (start, number), key=lambda span: span[1] - span[0])
            start = number + 1
    return best


def _cells(line: Line, columns: tuple[Word, ...]) -> list[str]:
    cells: list[list[str]] = [[] for _ in columns]
    for word in line.words:
        nearest = min(range(len(columns)), key=lambda number: _apart(word, columns[number]))
        cells[nearest].append(word.text)
    return [" ".join(cell) for cell in cells]


def _apart(word: Word, column: Word) -> float:
    """How badly two words are aligned, by whichever edge or centre fits best."""
    centres = abs(word.left + word.right - column.left - column.right) / 2
    return min(abs(word.left - column.left), abs(word.right - column.right), centres)
