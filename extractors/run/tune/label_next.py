"""Which documents to label next: randomly drawn ones, for certificates, and doubtful ones, for the score.

Random documents are the next ones of one fixed random order of the source, which a hash of the names gives: its first
documents are a random sample at all times, however many have been labelled. Doubtful documents are those of the least
confidence: they show most errors a label, and say nothing of the share of errors.

A document that was labelled because it was doubtful can no longer be drawn by chance, and without the doubtful ones a sample is
too good. So the same hash sets a quarter of the documents apart, from which the doubtful ones are taken, and random ones never.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from extractors.run.tune.measurements import Draw

SET_APART = 256 // 4  # of 256 values of the hash's last byte; its first ones give the order


class NextLabel(NamedTuple):
    """A document of the list."""

    document: str
    draw: Draw
    confidence: float | None


def label_next(
    confidences: Mapping[str, float | None], labelled: Collection[str], *, random: int, doubtful: int
) -> list[NextLabel]:
    """The next documents: `random` in their random order, then `doubtful`, the most doubtful one first.

    `confidences` has all documents of the source, None where the confidence is unknown. Fewer are listed where the source has
    no more.
    """
    drawn, doubted = [], []
    for document in confidences.keys() - labelled:
        key = _hash(document)
        if key[-1] < SET_APART:
            doubted.append((_doubt_key(confidences[document]), document))
        else:
            drawn.append((key, document))
    return [
        *(NextLabel(document, "random", confidences[document]) for _, document in sorted(drawn)[:random]),
        *(NextLabel(document, "doubtful", confidences[document]) for _, document in sorted(doubted)[:doubtful]),
    ]


def _hash(document: str) -> bytes:
    return hashlib.blake2b(document.encode(errors="surrogatepass"), digest_size=16, person=b"label next").digest()


def _doubt_key(confidence: float | None) -> float:
    """Unknown confidence comes last: it is no sign of doubt."""
    return math.inf if confidence is None else confidence
