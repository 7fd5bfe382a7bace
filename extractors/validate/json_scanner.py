"""Scans an answer that is not JSON alone: the one place that decides where the JSON in it begins and where it ends.

The text is scanned from left to right. Reasoning between marks is cut off. A bracket that begins like JSON opens a value,
a bracket of prose does not:

| text | is |
|---|---|
| `{` before a quote, `}`, a name with a colon, or the end of the text | a value |
| `[` before the start of a value, or the end of the text | a value |
| `[the]`, `[Note: …`, `{curly}` | prose |

What opens and parses is a candidate, and the scan goes on behind it. Nothing inside an opened value is ever a candidate.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from extractors.validate.find_json import FoundJson, Malformed
from extractors.validate.marks import PATTERN, is_padding, read_mark, skip_bare_channels

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OBJECT = r"""\{(?=\s*(?:["'“”„}]|//|/\*|\Z))"""
_LITERAL = r"(?:[Tt]rue|[Ff]alse|null|None)(?=\s*(?:[,\]]|\Z))|(?:t|tr|tru|f|fa|fal|fals|n|nu|nul|-)\Z"
_ARRAY = rf"""\[(?=\s*(?:["'“{{\[]|-?\d|//|/\*|(?:\.{{3}}|…)\s*,|\Z|{_LITERAL}))"""
_EMPTY_ARRAY = r"(?m:^[ \t]*(?P<empty>\[\s*\])[ \t]*$)"  # in prose `[]` and `[ ]` are signs, alone on a line a value
_UNQUOTED = r"\{(?=\s*[A-Za-z_]\w*\s*:)"  # JavaScript's form: never a candidate, and nothing inside it is one
_EVENT = re.compile(rf"{PATTERN}|(?P<value>{_OBJECT}|{_ARRAY})|{_EMPTY_ARRAY}|(?P<unquoted>{_UNQUOTED})")
_TOKEN = re.compile(rf"{_STRING}|(?P<open>[{{\[])|(?P<close>[}}\]])|(?P<quote>\")|{PATTERN}", re.DOTALL)
# Signs that a value is a part of a larger one whose bracket is missing or was closed too early.
_GOES_ON = re.compile(
    rf"""[\s}}\]]*,\s*(?:"|{_OBJECT}|{_ARRAY}|-?\d[\d.]*\s*[,}}\]])"""  # another member or item
    r"""|\s*"[^"\n]{0,200}"\s*:|-?\d[\d.]*\s*[,}\]]"""  # a key, the rest of a number
)
_CITATION = re.compile(r"\[\d{1,4}(?:\s*[,-]\s*\d{1,4})*\]")  # of prose, as in `[1], [2]`
_KEY_BEFORE = re.compile(r"""["'”]\s*:\s*\Z""")
_CLOSES_TWICE = re.compile(r"\s*[}\]]\s*[}\]]")  # one bracket too many is a slip of the model, two end a larger value
_CLOSES_MORE = re.compile(r"\s*[,}\]]")
_JSON_TOKENS = re.compile(rf"(?:\s|[,:}}\]]|{_STRING}|-?\d[\d.eE+-]*|true\b|false\b|null\b)*+\Z", re.DOTALL)
_BROKEN_TAIL = re.compile(r""".*"\s*:.*[}\]]\s*(?:```\s*)?""", re.DOTALL)
_PROSE_TAIL = re.compile(r"\s*(?:```\s*)?\n\s*(?:[-*#>|•]+[ *]|[A-Za-z]+[\s:,.])")  # words on a line of their own
_PROSE_BRACKET = re.compile(r'\[[^\[\]{}"\n]{1,80}\]')  # `[1/2]`, `[5 EUR]`, `[2026-01-02]`
_JSON_SIGN = re.compile(r"""["}\]]""")
_LOOK_BACK = 2000  # characters before a value that are looked at for such signs


class _Span(NamedTuple):
    """A value that was opened: its end, whether it was closed, and whether a mark stands in its way."""

    end: int
    closed: bool
    interrupted: bool = False


class JsonScanner:
    """One scan of one text."""

    def __init__(self, text: str) -> None:
        """Reads nothing yet."""
        self._text = text
        self._found = FoundJson()
        self._skipped: Malformed | None = (
            None  # JavaScript's form or a bracket of prose, told of where nothing else is there
        )
        self._first = self._last_end = 0  # where the first candidate began, and the last value ended
        self._prose_from = 0
        self._doubtful = False  # the last mark stood inside a value: it may be the text of a broken string

    def scan(self) -> FoundJson:
        """Everything that the text holds."""
        text, at = self._text, skip_bare_channels(self._text)
        self._prose_from = at
        self._found.thinking = at > 0
        while match := _EVENT.search(text, at):
            following = self._read(match)
            if following is None:
                break
            at = following
        else:
            self._note_prose(len(text))
            tail = max(self._last_end, self._prose_from)
            broken = _BROKEN_TAIL.fullmatch(text, tail) and not _PROSE_TAIL.match(text, tail)
            if self._found.candidates and broken:
                self._found.reject("the value goes on behind its closing bracket", self._last_end)
        if self._skipped and not self._found.candidates and not self._found.malformed:
            self._found.malformed = self._skipped
        return self._found

    def _read(self, match: re.Match[str]) -> int | None:
        """Reads what begins here; the place where the scan goes on, None where it ends."""
        if match["value"] is not None or match["unquoted"] is not None:
            return self._read_value(match)
        if match["empty"] is not None:
            self._found.add("[]")
            return match.end()
        return self._read_mark(match)

    def _read_mark(self, match: re.Match[str]) -> int | None:
        mark = read_mark(self._text, match)
        if mark.kind == "open":
            self._found.thinking = True
            self._note_prose(match.start())
            self._prose_from = mark.end or len(self._text)
            return mark.end
        assert mark.end is not None
        if not self._closes_nothing(match.start(), mark.end):
            self._found, self._skipped = FoundJson(thinking=True), None
            self._prose_from = mark.end
        return mark.end

    def _note_prose(self, end: int) -> None:
        self._found.blank = self._found.blank and is_padding(self._text[self._prose_from : end])

    def _closes_nothing(self, start: int, end: int) -> bool:
        """Whether a closing mark stands alone behind an answer with which the text began."""
        found, text = self._found, self._text
        alone = len(found.candidates) == 1 and not found.malformed and is_padding(text[end:])
        return alone and is_padding(text[: self._first]) and is_padding(text[self._last_end : start])

    def _read_value(self, match: re.Match[str]) -> int | None:
        start, found = match.start(), self._found
        span = _measure(self._text, start)
        before, self._last_end = self._last_end, span.end
        found.blank = False
        if span.interrupted:
            found.reject("a mark stands inside the value", span.end)
            self._doubtful = True
            return None if is_padding(self._text[:start]) else span.end
        if not span.closed:
            found.unfinished = True
            return None
        if match["unquoted"] is not None:
            self._skipped = Malformed("a key is not quoted", start)
            return span.end
        return self._judge(start, before, span.end)

    def _judge(self, start: int, before: int, end: int) -> int | None:
        """Notes a closed value as a candidate or as malformed."""
        text, found = self._text, self._found
        if _GOES_ON.match(text, end) and not _CITATION.fullmatch(text, start, end):
            found.reject("the value goes on behind its closing bracket", end)
            found.unfinished = _is_open(text, end)
            return _find_mark(text, end)
        if _CLOSES_TWICE.match(text, end):
            found.reject("the opening brackets of the value are missing", start)
            return end
        if self._doubtful and _JSON_SIGN.search(text, self._prose_from, start):
            found.reject("the opening bracket of the value is missing", start)
            return None
        if self._is_part(start, before, end):
            found.reject("the opening bracket of the value is missing", start)
            return end
        try:
            orjson.loads(text[start:end])
        except orjson.JSONDecodeError as error:
            if _PROSE_BRACKET.fullmatch(text, start, end):
                self._skipped = Malformed(error.msg, start + error.pos)
            else:
                found.reject(error.msg, start + error.pos)
            return end
        if not found.candidates:
            self._first = start
        found.add(text[start:end])
        return end

    def _is_part(self, start: int, before: int, end: int) -> bool:
        """Whether this value is inside a larger one whose opening bracket is missing, or that was closed too early."""
        gap = self._text[max(before, self._prose_from, start - _LOOK_BACK) : start]
        closes_more = _CLOSES_MORE.match(self._text, end)
        if closes_more and self._found.malformed:
            return True
        return bool(_KEY_BEFORE.search(gap) and (closes_more or _JSON_TOKENS.match(gap)))


def _measure(text: str, start: int) -> _Span:
    """How far the value that opens here reaches: brackets are counted, those in strings are not."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
            if depth == 0:
                return _Span(token.end(), closed=True)
        elif token["quote"]:
            break
        elif token.lastgroup and token.lastgroup.startswith("mark_"):
            return _Span(token.start(), closed=False, interrupted=True)
    return _Span(len(text), closed=False)


def _find_mark(text: str, start: int) -> int | None:
    """The next mark that does not stand in a string: what is before it belongs to a broken value."""
    marks = (token for token in _TOKEN.finditer(text, start) if token.lastgroup and token.lastgroup.startswith("mark_"))
    return next((mark.start() for mark in marks), None)


def _is_open(text: str, start: int) -> bool:
    """Whether a value that opens behind this place is not closed before the end of the text."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token["quote"]:
            return True
        depth = depth + 1 if token["open"] else max(depth - bool(token["close"]), 0)
    return depth > 0
