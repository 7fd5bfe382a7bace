"""Lays the tokens of a reply over the JSON text of its document, byte by byte.

Servers write tokens in several ways; each is tried in turn, and one counts only where the tokens reproduce the text:

| token | is |
|---|---|
| `<0xE2><0x82>` | the bytes of a part of a character |
| a token with U+FFFD | a part of a character: all tokens of a run of characters beyond ASCII share that run |
| `Ġtotal`, `Ċ` | GPT-2's alphabet for bytes |
| `▁total` | SentencePiece's sign for a blank |
| `<|im_end|>`, `</s>`, an empty token, inside or around | nothing of the text |
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

import orjson

from extractors.validate.find_json import find_json
from extractors.validate.wrappers import unwrap_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

_BYTES = re.compile(r"(?:<0x[0-9A-Fa-f]{2}>)+")
_SPECIAL = re.compile(
    rb"\s*(?:<(?:\||\xef\xbd\x9c)[^<>]{1,60}(?:\||\xef\xbd\x9c)>|</?s>|<(?:bos|eos|pad|unk|(?:start|end)_of_turn)>|\[/?INST\])\s*"
)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_RUN = b"\xff"  # stands for a run of bytes beyond ASCII; no UTF-8 has it
_UNREADABLE = "\ufffd".encode()
T = TypeVar("T")


def _build_byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, all others for the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTE_ALPHABET = _build_byte_alphabet()


@dataclass(frozen=True, slots=True)
class TokenText:
    """The text of all tokens that have some, their bytes, and where each begins and ends.

    `numbers` are theirs among all tokens, None where none is empty. `collapsed`: a run beyond ASCII is one byte.
    """

    text: bytes
    pieces: Sequence[bytes]
    starts: Sequence[int]
    ends: Sequence[int]
    numbers: Sequence[int] | None = None
    collapsed: bool = False

    def overlap(self, start: int, end: int) -> tuple[int, int]:
        """The first of the tokens that overlap these bytes, and the first one behind them."""
        return bisect_right(self.ends, start), bisect_left(self.starts, end)

    def measure(self, text: bytes, end: int) -> int:
        """The length that this text up to `end` has here."""
        return len(_BEYOND_ASCII.sub(_RUN, text[:end])) if self.collapsed else end

    def find(self, candidate: bytes) -> int | None:
        """Where the candidate begins; None where it is not, or more than once."""
        wanted = _BEYOND_ASCII.sub(_RUN, candidate) if self.collapsed else candidate
        start = self.text.find(wanted)
        return start if start >= 0 and self.text.find(wanted, start + 1) < 0 else None

    def select(self, values: tuple[T, ...]) -> tuple[T, ...]:
        """Of one value for each token those of the tokens here."""
        return values if self.numbers is None else tuple(values[number] for number in self.numbers)


@dataclass(frozen=True, slots=True)
class Located:
    """The JSON text of a document as the tokens wrote it, and where it begins among them."""

    tokens: TokenText
    candidate: bytes
    start: int

    def read_before(self, tokens: Sequence[str]) -> str:
        """The text of the tokens before it, special tokens included."""
        layout = self.tokens
        place = bisect_right(layout.ends, self.start)
        number = place if layout.numbers is None else layout.numbers[place]
        part = layout.text[layout.starts[place] : self.start]
        return "".join(tokens[:number]) + part.decode("utf-8", "replace")


def locate(tokens: Sequence[str], candidate: str, model: type[BaseModel]) -> Located | None:
    """Find the accepted candidate in the tokens' text; None where the tokens do not reproduce it, or do so twice.

    The arguments of a tool call are written anew by some servers: then the tokens' own JSON of the same values counts.
    """
    wanted = _encode(candidate)
    for token_text in _write(tokens):
        start = token_text.find(wanted)
        if start is not None:
            return Located(token_text, wanted, start)
    for token_text in _write(tokens):
        rewritten = None if token_text.collapsed else _find_rewritten(token_text, candidate, model)
        if rewritten is not None:
            return rewritten
    return None


def _find_rewritten(token_text: TokenText, candidate: str, model: type[BaseModel]) -> Located | None:
    """The one JSON in the tokens' text with the same values in the same order."""
    try:
        text, values = token_text.text.decode(), _parse_in_order(candidate)
        found = (unwrap_call(each, model) for each in find_json(text).candidates)
        equal = {each for each in found if _parse_in_order(each) == values}
    except (ValueError, RecursionError):
        return None
    written = equal.pop().encode() if len(equal) == 1 else None
    start = token_text.find(written) if written else None
    return Located(token_text, written, start) if written and start is not None else None


def _parse_in_order(text: str) -> object:
    value = orjson.loads(text)
    return list(value.items()) if isinstance(value, dict) else value


def _write(tokens: Sequence[str]) -> Iterator[TokenText]:
    """The tokens' text in each way in which a server may have written them, first with special tokens, then without."""
    for pieces in _read_pieces(tokens):
        yield _lay(pieces)
        kept = [b"" if _SPECIAL.fullmatch(piece) else piece for piece in pieces]
        if kept != pieces:
            yield _lay(kept)
        if any(_UNREADABLE in piece for piece in kept):
            yield _lay_collapsed(kept)


def _read_pieces(tokens: Sequence[str]) -> Iterator[list[bytes]]:
    whole = "".join(tokens)
    if "<0x" in whole:
        yield [_read_bytes(token) for token in tokens]
    yield list(map(str.encode, tokens)) if whole.isascii() else [_encode(token) for token in tokens]
    if "Ġ" in whole or "Ċ" in whole:
        yield [_read_alphabet(token) for token in tokens]
    if "▁" in whole:
        yield [_read_bytes(token.replace("▁", " ")) for token in tokens]


def _read_bytes(token: str) -> bytes:
    if _BYTES.fullmatch(token):
        return bytes.fromhex(token.replace("<0x", "").replace(">", ""))
    return _encode(token)


def _read_alphabet(token: str) -> bytes:
    if all(character in _BYTE_ALPHABET for character in token):
        return bytes(_BYTE_ALPHABET[character] for character in token)
    return _encode(token)


def _encode(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")


def _lay(pieces: Sequence[bytes]) -> TokenText:
    numbers = None
    if b"" in pieces:
        numbers = [number for number, piece in enumerate(pieces) if piece]
        pieces = [pieces[number] for number in numbers]
    ends = list(accumulate(map(len, pieces)))
    return TokenText(b"".join(pieces), pieces, [0, *ends], ends, numbers)


def _lay_collapsed(pieces: Sequence[bytes]) -> TokenText:
    """As `_lay`, where a run of bytes beyond ASCII is one byte that all its tokens share."""
    text, starts, ends = bytearray(), list[int](), list[int]()
    numbers = [number for number, piece in enumerate(pieces) if piece]
    short = [_BEYOND_ASCII.sub(_RUN, pieces[number]) for number in numbers]
    for piece in short:
        goes_on = piece.startswith(_RUN) and text.endswith(_RUN)
        starts.append(len(text) - goes_on)
        text += piece[1:] if goes_on else piece
        ends.append(len(text))
    return TokenText(bytes(text), short, starts, ends, numbers, collapsed=True)
