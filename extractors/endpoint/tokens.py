"""Tokens of an answer, split as byte-pair tokenizers do: pieces of words, runs of marks, digits by threes.

A quote may stand in one token with the piece behind it, and a character may be split into bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.endpoint.answer import Answer

Form = Literal["lists", "entries"]  # of Together, and of OpenAI

_WORDS = re.compile(r" ?[^\W\d_]+| ?\d{1,3}| ?(?:[^\w\s]|_)+|\s+")
_WHOLE = frozenset({"null", "true", "false"})
_JOINED = 3  # one in so many values stands in one token with its quote
_SPLIT_BYTES = 3  # of a character that may be split


@dataclass(frozen=True, slots=True)
class Token:
    """A token as bytes, which may be a part of a character."""

    raw: bytes
    logprob: float

    @property
    def text(self) -> str:
        """Its text; a part of a character as OpenAI shows it."""
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return "".join(f"\\x{byte:02x}" for byte in self.raw)


def split_tokens(text: str, answer: Answer, form: Form) -> tuple[Token, ...]:
    """The tokens of a response with this text, which holds the answer; together they are the text.

    A character is split only where the form of the response can give its bytes.
    """
    logprobs, tokens, start = answer.spread(text), list[Token](), 0
    for piece in _iter_pieces(text):
        total = sum(logprobs[start : start + len(piece)])
        start += len(piece)
        first, *others = _split_bytes(piece) if form == "entries" else [piece.encode()]
        tokens += [Token(first, total), *(Token(raw, 0.0) for raw in others)]
    return tuple(tokens)


def group_tokens(tokens: Sequence[Token], size: int) -> Iterator[list[Token]]:
    """The tokens of each chunk of a stream: about so many bytes, and whole characters."""
    group: list[Token] = []
    for token in tokens:
        group.append(token)
        raw = b"".join(each.raw for each in group)
        if len(raw) >= size and not _is_torn(raw):
            yield group
            group = []
    if group:
        yield group


def format_logprobs(tokens: Sequence[Token], form: Form, alternatives: int) -> dict[str, Any]:
    """The `logprobs` of a choice. Of the alternatives that a request may ask for, the chosen token is the one known."""
    if form == "entries":
        entries = [{"token": each.text, "logprob": each.logprob, "bytes": list(each.raw)} for each in tokens]
        return {
            "content": [each | {"top_logprobs": [each] if alternatives else []} for each in entries],
            "refusal": None,
        }
    return {
        "tokens": [each.text for each in tokens],
        "token_ids": [crc32(each.raw) % 128_000 for each in tokens],
        "token_logprobs": [each.logprob for each in tokens],
        "top_logprobs": [{each.text: each.logprob} for each in tokens] if alternatives else None,
    }


def _iter_pieces(text: str) -> Iterator[str]:
    quote = ""  # of the run of marks before, for the piece behind it
    words = _WORDS.findall(text)
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word.endswith('"') and following[:1].isalnum() and crc32(following.encode()) % _JOINED == 0:
            quote = '"'
            if word[:-1]:
                yield word[:-1]
            continue
        first, *others = _split_word(word)
        yield quote + first
        yield from others
        quote = ""


def _split_word(word: str) -> list[str]:
    """A word in pieces of two to five characters; marks and digits as they are."""
    if word.strip() in _WHOLE or not word[-1].isalpha():
        return [word]
    pieces, start = [], 0
    while start < len(word):
        end = start + 2 + crc32(word[start:].encode()) % 4
        pieces.append(word[start:end])
        start = end
    return pieces


def _split_bytes(piece: str) -> list[bytes]:
    """The bytes of a piece; one that ends in a long character may end inside of it."""
    raw = piece.encode()
    if len(piece[-1].encode()) < _SPLIT_BYTES or crc32(raw) % 2:
        return [raw]
    return [raw[:-1], raw[-1:]]


def _is_torn(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False
