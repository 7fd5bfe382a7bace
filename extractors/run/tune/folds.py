"""Folds of documents, by a hash of their names: the same on every machine, and none of them knows an order of the source."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDS = 10


def hash_order(document: str) -> bytes:
    """The key by which documents are put in an order that says nothing of them."""
    return hashlib.blake2b(document.encode(errors="surrogatepass"), digest_size=16, person=b"fold").digest()


def split_documents(documents: Iterable[str]) -> list[set[str]]:
    """The documents in folds of nearly equal size; all readings and fields of a document are in one fold."""
    order = sorted(set(documents), key=hash_order)
    folds = min(FOLDS, len(order))
    return [set(order[first::folds]) for first in range(folds)]
