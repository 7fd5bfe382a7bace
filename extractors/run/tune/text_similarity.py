"""Texts beside each other: folded, and by edit similarity.

| written | beside | because |
|---|---|---|
| `Café "Zoë" GmbH` | `CAFE ZOE GMBH` | the same: case, accents, punctuation and whitespace do not count |
| `OLD TOWN KOPITAM SDN BHD` | `OLD TOWN KOPITIAM SDN BHD` | right: at most one letter in twenty differs |
| `ABC STORE` | `ABD STORE` | wrong: one letter in eight |
| `INV-20018-77` | `INV-20018-71` | wrong: a digit differs, and no reader can tell which one was printed |

The least similarity is 0.95: below it a reader who sees the text alone may take it for another one, and measured against
stricter equality it hides few differences between rungs.
"""

from __future__ import annotations

import unicodedata

from extractors.run.tune.extra import import_module

LEAST_SIMILARITY = 0.95
_ACCENTS = range(0x0300, 0x0370)  # combining marks of Latin, Greek and Cyrillic; those of other scripts are letters


def fold_text(text: str) -> str:
    """The text without case, accents, punctuation and whitespace; the text itself where nothing else is in it."""
    folded = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text.casefold())
        if ord(letter) not in _ACCENTS and unicodedata.category(letter)[0] not in "PZC"
    )
    return unicodedata.normalize("NFC", folded).casefold() or "".join(text.split())


def text_similarity(read: str, true: str) -> float:
    """1 minus the edit distance of the folded texts (Levenshtein 1966) as a share of the longer one."""
    similarity = import_module("rapidfuzz.distance").Levenshtein.normalized_similarity
    return float(similarity(fold_text(read), fold_text(true)))


def is_same_text(read: str, true: str, similarity: float) -> bool:
    """Whether a text of this similarity counts as read right: its digits must be those of the true one."""
    if similarity == 1:
        return True
    return similarity >= LEAST_SIMILARITY and _digits(read) == _digits(true)


def _digits(text: str) -> list[str]:
    return [letter for letter in fold_text(text) if letter.isdecimal()]
