"""Lines of a page as OCR returns them, made from a text whose letters have the same width."""

from extractors.core.evidence import Box
from extractors.validate.witness.words import PageLine, PageWord

LETTER = 10  # px per letter; a line is 20 px high and begins 30 px below the previous one


def page(text):
    """The lines of a page; each word is placed where it stands in the text."""
    lines = []
    for row, line in enumerate(text.strip("\n").split("\n")):
        words, at = [], 0
        for word in line.split():
            at = line.index(word, at)
            words.append(PageWord(word, Box(at * LETTER, row * 30, len(word) * LETTER, 20)))
            at += len(word)
        if words:
            lines.append(PageLine(tuple(words)))
    return tuple(lines)
