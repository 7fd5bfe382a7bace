"""Labels and what stands beside them: "Invoice No.: 4711", or a caption with its value underneath."""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.endpoint.ocr.words import Line, OcrDocument, Word

_PUNCTUATION = " \t:#.-=*|;,~_"
_LOOKALIKES = str.maketrans("0158|", "OISBI")


def letters(text: str) -> str:
    """The text's letters alone, in capitals without accents: how labels are compared."""
    plain = unicodedata.normalize("NFKD", text).upper()
    return "".join(each for each in plain if each.isalpha())


@lru_cache(maxsize=8192)
def correct_word(text: str, vocabulary: tuple[str, ...]) -> str:
    """The letters of a text, each word that is misread by about one letter in five spelled as in the vocabulary."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKD", text).upper())
    return "".join(_nearest(word, vocabulary) for word in words)


def beside(document: OcrDocument, label: re.Pattern[str]) -> Iterator[str]:
    """What stands beside each match of a label: behind it, else right of it, else under it."""
    lines = document.lines
    for index, line in enumerate(lines):
        for place, word in enumerate(line.words):
            match = label.search(word.text)
            if match is None:
                continue
            value = word.text[match.end() :].strip(_PUNCTUATION) or _right(line.words[place + 1 :])
            below = _below(word, lines[index + 1 : index + 2]) if not value and match.start() == 0 else None
            if value or below is not None:
                yield value or (below.text.strip(_PUNCTUATION) if below else "")


def _nearest(word: str, vocabulary: tuple[str, ...]) -> str:
    if len(word) < 4 or not any(each.isalpha() for each in word):
        return letters(word)
    return next(iter(get_close_matches(word.translate(_LOOKALIKES), vocabulary, n=1, cutoff=0.8)), letters(word))


def _right(words: tuple[Word, ...]) -> str:
    """The next words on the line, as far as no wide gap parts them."""
    found: list[Word] = []
    for word in words:
        if found and word.left - found[-1].right > 1.5 * word.height:
            break
        found.append(word)
    return " ".join(word.text for word in found).strip(_PUNCTUATION)


def _below(word: Word, lines: tuple[Line, ...]) -> Word | None:
    return next((each for line in lines for each in line.words if each.over(word)), None)
