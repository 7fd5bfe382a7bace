"""Marks around an answer: the tags and tokens by which models set their reasoning apart from what they answer."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal["open", "close", "channel"]

_WORDS = r"(?:think|thought|reason|reflect|analys|scratchpad|monolog|deliberat)"
_NAME = rf"[\w:.-]{{0,20}}{_WORDS}[\w:.-]{{0,20}}"  # bounded, so that no text makes the search slow
_BAR = "[|\uff5c]"  # some models write it full-width
_OPEN = "|".join(
    (
        rf"<(?!/){_NAME}(?:\s[^<>]{{0,200}})?>",  # <think>, <seed:think>
        r"\[THINK\]",
        r"◁think▷",
        rf"<{_BAR}(?!/|end|stop|close)[\w▁-]{{0,20}}{_WORDS}[\w▁-]{{0,20}}(?<!_end){_BAR}>",  # <|START_THINKING|>
        rf"<{_BAR}im_start{_BAR}>think\b",
        rf"<{_BAR}channel>",
        r"<unused94>",
    )
)
_CLOSE = "|".join(
    (
        rf"</{_NAME}\s*>",
        r"\[/THINK\]",
        r"◁/think▷",
        rf"<{_BAR}(?:/|end|stop|close)[\w▁-]{{0,20}}{_WORDS}[\w▁-]{{0,20}}{_BAR}>",
        rf"<{_BAR}[\w▁-]{{0,20}}{_WORDS}[\w▁-]{{0,20}}_end{_BAR}>",
        rf"<{_BAR}im_start{_BAR}>answer\b",
        rf"<channel{_BAR}>",
        r"<unused95>",
    )
)
# A channel's header, as in `<|channel|>final<|message|>`: the final channel holds the answer, or the call of a function.
_CHANNEL = rf"<{_BAR}channel{_BAR}>\s*(?P<channel_name>\w+)[^<]{{0,200}}(?:<{_BAR}constrain{_BAR}>[^<]{{0,200}})?<{_BAR}message{_BAR}>"

_TO_FUNCTION = "to=functions."

PATTERN = rf"(?i:(?P<mark_channel>{_CHANNEL})|(?P<mark_open>{_OPEN})|(?P<mark_close>{_CLOSE}))"
MARK = re.compile(PATTERN)
_CLOSING = re.compile(_CLOSE, re.IGNORECASE)
_CHANNEL_END = re.compile(rf"<{_BAR}(?:end|start|channel|return|call){_BAR}>", re.IGNORECASE)
# Servers that drop the special tokens leave the channels' names as words.
_BARE_CHANNELS = re.compile(r"\s*(?:analysis|commentary).*assistantfinal", re.DOTALL)
_PADDING = re.compile(rf"(?:\s|```\w*|<{_BAR}[\w▁]+{_BAR}>|</\w+>)*", re.IGNORECASE)


class Mark(NamedTuple):
    """One mark: `open` begins reasoning that ends at `end`, `close` ends reasoning that began with the text.

    `end` is None where the reasoning never ends. A `channel` is the head of the final one.
    """

    kind: Kind
    end: int | None


def read_mark(text: str, match: re.Match[str]) -> Mark:
    """What this match of `MARK` is, and where the text goes on behind it."""
    if match["mark_close"] is not None:
        return Mark("close", match.end())
    if match["mark_channel"] is not None:
        if match["channel_name"].lower() == "final" or _TO_FUNCTION in match["mark_channel"]:
            return Mark("channel", match.end())
        ending = _CHANNEL_END.search(text, match.end())
        return Mark("open", ending.start() if ending else None)
    closing = _CLOSING.search(text, match.end())
    return Mark("open", closing.end() if closing else None)


def skip_bare_channels(text: str) -> int:
    """Where the final channel begins in a text whose channel tokens were dropped; 0 without one."""
    matched = _BARE_CHANNELS.match(text)
    return matched.end() if matched else 0


def has_reasoning(text: str) -> bool:
    """Whether marks in this text set reasoning apart: more than blanks between them, or before a closing one."""
    if skip_bare_channels(text):
        return True
    at = 0
    while match := MARK.search(text, at):
        mark = read_mark(text, match)
        begin, end = (at, match.start()) if mark.kind == "close" else (match.end(), mark.end or len(text))
        if mark.kind != "channel" and not is_padding(_CLOSING.sub("", text[begin:end])):
            return True
        at = max(match.end(), mark.end or 0)
    return False


def is_padding(text: str) -> bool:
    """Whether this is nothing but blanks, fences and special tokens, such as stand around an answer."""
    return _PADDING.fullmatch(text) is not None
