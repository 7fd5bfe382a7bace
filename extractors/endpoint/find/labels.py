"""Labels and what stands beside them: "Invoice No.: 4711", or a caption with its value underneath."""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.endpoint.words import Document, Line, Word

_PUNCTUATION = " \t:#.-=*|;,~_"
_LOOKALIKES = str.maketrans("0158|", "OISBI")


def letters(text: str) -> str:
    """The text's letters alone, in capitals without accents: how labels are compared."""
    plain = unicodedata.normalize("NFKD", text).upper()
    return "".join(each for each in plain if each.isalpha())


@lru_cache(maxsize=8192)
def spelled(text: str, vocabulary: tuple[str, ...]) -> frozenset[str]:
    """The words of a vocabulary that a text has, also glued together, or misread by one letter in five."""
    glued = letters(text)
    found = {each for each in vocabulary if each in glued}
    for word in re.findall(r"[^\W_]{4,}", text.upper()):
        if any(each.isalpha() for each in word):
            found.update(get_close_matches(word.translate(_LOOKALIKES), vocabulary, n=1, cutoff=0.8))
    return frozenset(found)


def beside(document: Document, label: re.Pattern[str]) -> Iterator[str]:
    """What stands beside each match of a label: behind it, else right of it, else under it."""
    lines = document.lines
    for index, line in enumerate(lines):
        for place, word in enumerate(line.words):
            match = label.search(word.text)
            if match is None:
                continue
            rest = " ".join([word.text[match.end() :], *(each.text for each in line.words[place + 1 :])])
            value = rest.strip(_PUNCTUATION)
            if value:
                yield value
            if (below := _below(word, lines[index + 1 : index + 2])) is not None:
                yield below.text.strip(_PUNCTUATION)


def _below(word: Word, lines: tuple[Line, ...]) -> Word | None:
    return next((each for line in lines for each in line.words if each.over(word)), None)
