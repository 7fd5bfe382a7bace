"""Finds the JSON in a model's answer: an answer that is JSON is taken as it is, any other is scanned (json_scanner.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

_WRAPPED = re.compile(r"\s*(?:```\w*\s*)?([{\[].*[}\]])\s*(?:```\s*)?", re.DOTALL)


class Malformed(NamedTuple):
    """Text that starts like JSON and does not parse: the parser's words, and the character of the answer where it failed."""

    message: str
    at: int


@dataclass(slots=True)
class FoundJson:
    """The candidates for the document in their order, and what else decides.

    `malformed` is the last value that does not parse, `behind` counts the candidates that stand behind it. `unfinished`
    says that a value opened and did not close before the end of the text, `thinking` that reasoning was cut off, `blank` that
    nothing but blanks, fences and special tokens is left.
    """

    candidates: list[str] = field(default_factory=list)
    malformed: Malformed | None = None
    behind: int = 0
    unfinished: bool = False
    thinking: bool = False
    blank: bool = True

    def add(self, candidate: str) -> None:
        """A value that parses."""
        self.candidates.append(candidate)
        self.behind += 1

    def reject(self, message: str, at: int) -> None:
        """A value that does not parse."""
        self.malformed, self.behind = Malformed(message, at), 0


def find_json(text: str) -> FoundJson:
    """The values in this answer that may be the document, and what stands in the way of taking one."""
    stripped = text.strip()
    if _parses(stripped):
        return FoundJson([stripped], behind=1, blank=False)
    from extractors.validate.json_scanner import JsonScanner  # noqa: PLC0415 - its patterns, which a plain answer does not need

    return JsonScanner(text).scan()


def unwrap(text: str) -> str | None:
    """The JSON of a text that is nothing else, but for a fence around it; None where there is more or less."""
    matched = _WRAPPED.fullmatch(text)
    return matched[1] if matched and _parses(matched[1]) else None


def _parses(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
