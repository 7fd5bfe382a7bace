"""Which documents to label next: randomly drawn ones, for certificates, and doubtful ones, for the score.

Random documents are the next ones of one fixed random order of the source, which a hash of the names gives: its first
documents are a random sample at all times, however many have been labelled. A document that was labelled because it was
doubtful belongs to the sample from its turn on; leaving it out would leave only easier ones. Doubtful documents are those of
the least confidence: they show most errors a label, and say nothing of the share of errors.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extractors.run.tune.measurements import Draw


class NextLabel(NamedTuple):
    """A document of the list. `labelled`: its label is there already, and counts as of a random draw from now on."""

    document: str
    draw: Draw
    confidence: float | None
    labelled: bool = False


def label_next(
    confidences: Mapping[str, float | None], labelled: Mapping[str, Draw], *, random: int, doubtful: int
) -> list[NextLabel]:
    """The next documents: `random` in their random order, then `doubtful`, the most doubtful one first.

    `confidences` has all documents of the source, None where the confidence is unknown; `labelled` says how those with a
    label were drawn.
    """
    drawn: list[NextLabel] = []
    wanted = random
    for document in sorted(confidences, key=_order_key):
        if wanted == 0:
            break
        if labelled.get(document) == "random":
            continue
        wanted -= document not in labelled
        drawn.append(NextLabel(document, "random", confidences[document], document in labelled))
    taken = {each.document for each in drawn} | labelled.keys()
    rest = sorted((_doubt_key(confidences[document]), document) for document in confidences if document not in taken)
    return drawn + [NextLabel(document, "doubtful", confidences[document]) for _, document in rest[:doubtful]]


def _order_key(document: str) -> bytes:
    return hashlib.blake2b(document.encode(errors="surrogatepass"), digest_size=16, person=b"label next").digest()


def _doubt_key(confidence: float | None) -> float:
    """Unknown confidence comes last: it is no sign of doubt."""
    return math.inf if confidence is None else confidence
