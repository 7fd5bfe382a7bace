"""Log probabilities of tokens: reads them from a reply, and recognises a server that refuses to give them.

| form of `choices[0].logprobs` | of |
|---|---|
| `{"content": [{"token", "bytes", "logprob", …}, …]}` | OpenAI, vLLM, SGLang, llama.cpp |
| `{"tokens": ["…"], "token_logprobs": [-0.1], …}` | Together |
| `-0.1`, beside a streamed delta of one token | Together |

A stream has one part of them on each chunk.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import orjson

from extractors.call.error_body import parse_json
from extractors.core.calls import TokenLogprobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Object = dict[str, object]
Pairs = list[tuple[str, float | None]]

MAX_CHARS = 2**20  # of all tokens: longer than any answer
ROUNDING = 1e-4  # how far above 0 a logarithm may be by rounding
LEAST = -1e6  # below it a number is no logarithm of a probability; some servers write -9999 for "almost 0"
_VALUE = re.compile(r'"logprobs"\s*:\s*(?=[{\[]|NaN|-?Infinity)')
_OBJECT_ANSWER = re.compile(r'"(?:arguments|content)"\s*:\s*\{')  # in which a field may be named so
_WORDS = re.compile(
    r"log[ _-]?prob|no endpoints? found that (can handle|support)s? (the|all)?( requested)? ?parameters", re.IGNORECASE
)
# Of replies that may refuse a parameter; some servers say it with the status of an error of their own.
_REFUSING = frozenset({200, 400, 403, 404, 405, 415, 422, 500, 501})
_QUOTES = frozenset({"input", "ctx", "body", "request", "metadata"})  # fields of an error that repeat the request


class LogprobsRefusedError(Exception):
    """Carries the server's public words from a refused call to its repetition; never leaves this package."""


@dataclass(slots=True)
class LogprobOption:
    """Whether the calls of a run ask for log probabilities: if the run wants them, until the server refuses them.

    `refusal` is the server's words, `earlier` whether it said them in an earlier run.
    """

    wanted: bool = False
    refusal: str | None = None
    earlier: bool = False

    @property
    def asks(self) -> bool:
        """Whether the next call asks for them."""
        return self.wanted and self.refusal is None


def read_logprobs(choices: Iterable[Object]) -> TokenLogprobs | None:
    """The tokens of these choices, the parts of one answer; None without any, or where one part cannot be read."""
    pairs: Pairs = []
    for choice in choices:
        part = _read_part(choice)
        if part is None:
            return None
        pairs += part
    if not pairs:
        return None
    tokens, logprobs = zip(*pairs, strict=True)
    if sum(map(len, tokens)) > MAX_CHARS:
        return None
    return TokenLogprobs(tuple(map(sys.intern, tokens)), logprobs)  # the same few thousand texts in every reply


def clean_constants(content: bytes) -> bytes:
    """The body with null for what is no number in JSON (NaN) among its log probabilities."""
    if b'"logprobs"' not in content or not (b"NaN" in content or b"Infinity" in content):
        return content
    try:
        return _replace_values(content.decode(), json.dumps).encode()
    except UnicodeError:
        return content


def remove_logprobs(text: str, objects: Sequence[Object]) -> str:
    """The text of a body with null in place of log probabilities: they are kept apart, and are longer than the answer.

    `objects` are the JSON of the body, or of its events.
    """
    if len(objects) == 1 and text.startswith("{") and not _OBJECT_ANSWER.search(text):
        with suppress(TypeError):  # a number of more than 64 bits
            return orjson.dumps(_without_logprobs(objects[0])).decode()
    return _replace_values(text, lambda _: "null")


def refuses_logprobs(status: int, body: str) -> bool:
    """Whether this error is about log probabilities, which the request asked for."""
    if status not in _REFUSING:
        return False
    parsed = parse_json(body)
    if status == httpx.codes.OK and ("choices" in parsed if isinstance(parsed, dict) else True):  # part of an answer
        return False
    texts = _iter_texts(parsed) if isinstance(parsed, dict | list) else iter([body[:10_000]])
    return any(_WORDS.search(text) for text in texts)


def _without_logprobs(body: Object) -> Object:
    choices = body.get("choices")
    listed = choices if isinstance(choices, list) else []
    kept = [{**each, "logprobs": None} if isinstance(each, dict) and each.get("logprobs") else each for each in listed]
    return {**body, "choices": kept}


def _read_part(choice: Object) -> Pairs | None:
    """The tokens of one choice or chunk; None where they cannot be read."""
    given = choice.get("logprobs")
    if given is None:
        return []
    if not isinstance(given, dict):
        return _read_delta(choice, given)
    content, tokens = given.get("content"), given.get("tokens")
    if isinstance(content, list):
        return _read_content(content)
    if isinstance(tokens, list):
        return _read_lists(tokens, given.get("token_logprobs"))
    return [] if content is None and tokens is None else None


def _read_delta(choice: Object, given: object) -> Pairs | None:
    """The one token of a streamed delta whose log probability is a bare number."""
    delta = choice.get("delta")
    if not isinstance(delta, dict) or isinstance(given, bool) or not isinstance(given, int | float):
        return None
    texts = (delta.get(name) for name in ("content", "reasoning_content", "reasoning"))
    token = next((text for text in texts if isinstance(text, str) and text), None)
    return [] if token is None else [(token, _read_number(given))]


def _read_content(content: list[object]) -> Pairs | None:
    pairs: Pairs = []
    for each in content:
        if not isinstance(each, dict) or (token := _read_token(each)) is None:
            return None
        number = each.get("logprob")
        pairs.append((token, number if type(number) is float and LEAST <= number <= 0 else _read_number(number)))
    return pairs


def _read_lists(tokens: list[object], logprobs: object) -> Pairs | None:
    if not isinstance(logprobs, list) or len(logprobs) != len(tokens):
        return None
    if not all(isinstance(token, str) for token in tokens):
        return None
    return [(str(token), _read_number(number)) for token, number in zip(tokens, logprobs, strict=True)]


def _read_token(entry: Object) -> str | None:
    """The text of a token: its bytes where they are given, since the text of a part of a character is only shown so."""
    token, raw = entry.get("token"), entry.get("bytes")
    if type(token) is str and (not raw or (type(raw) is list and len(raw) == len(token) and token.isascii())):
        return token
    token = token if isinstance(token, str) else None
    if not isinstance(raw, list) or not raw:
        return token
    try:
        given = bytes(raw)
    except (TypeError, ValueError):  # no bytes: a string, a fraction, or out of range
        return token
    try:
        return given.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in given)


def _read_number(number: object) -> float | None:
    """The logarithm of a probability; None for what cannot be one."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not LEAST <= number <= ROUNDING:
        return None
    return min(float(number), 0.0)


def _replace_values(text: str, write: Callable[[object], str]) -> str:
    """The text with every value of `logprobs` written anew; unchanged where the answer may have such a field."""
    if _OBJECT_ANSWER.search(text):
        return text
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    pieces, end = [], 0
    for match in _VALUE.finditer(text):
        if match.start() < end:  # inside of a value that was replaced
            continue
        try:
            value, after = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return text
        pieces += [text[end : match.end()], write(value)]
        end = after
    return "".join([*pieces, text[end:]])


def _iter_texts(parsed: object) -> Iterator[str]:
    """The words of an error, without the parts that repeat the request; `loc` is the path of a field, as in FastAPI."""
    if isinstance(parsed, str):
        yield parsed
    elif isinstance(parsed, list):
        for each in parsed:
            yield from _iter_texts(each)
    elif isinstance(parsed, dict):
        for name, value in parsed.items():
            if name not in _QUOTES:
                yield from _iter_texts(value)
