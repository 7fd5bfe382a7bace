"""Takes the pictures' base64 out of a request's body, so that nothing parses, decodes or copies megabytes of it.

Parsing half a megabyte of text takes longer than all the rest of an echoed answer. What is left is small JSON, in which
a mark stands for each piece.
"""

from __future__ import annotations

import secrets

_OPENS = b'"data:'
_HEAD = 100  # bytes: a data URL's media type ends well before
_SMALL = 4096  # bytes: less is quicker parsed than lifted
_MARK = f"#{secrets.token_hex(8)}-"  # random, so that no request contains it


def lifted(body: bytes) -> tuple[bytes, list[memoryview]]:
    """The body with a mark in place of each long piece of base64, and the pieces.

    Only whole strings that begin as a data URL are touched: whether they stand where a picture belongs is for the
    reader of the marks to say.
    """
    view = memoryview(body)
    kept: list[bytes | memoryview] = []
    pieces: list[memoryview] = []
    done = 0
    start = body.find(_OPENS)
    while start >= 0:
        first = body.find(b",", start, start + _HEAD) + 1
        end = body.find(b'"', start + len(_OPENS))
        if first and end - first > _SMALL and _plain(body, start, end):
            kept += (view[done:first], f"{_MARK}{len(pieces)}".encode())
            pieces.append(view[first:end])
            done = end
        start = body.find(_OPENS, max(end, start + 1))
    return b"".join((*kept, view[done:])) if pieces else body, pieces


def number(encoded: str) -> int | None:
    """Which piece a mark stands for, None when this is no mark."""
    return int(encoded.removeprefix(_MARK)) if encoded.startswith(_MARK) else None


def _plain(body: bytes, start: int, end: int) -> bool:
    """Whether the quote at `start` opens a string, and the string has no escapes."""
    return body[start - 1 : start] != b"\\" and body.find(b"\\", start, end) < 0
