"""Recognizes an answer that was cut off while it repeated itself or filled up with blanks."""

from __future__ import annotations

_TAIL = 6000  # characters at the end that are looked at
_MIN_BLANKS = 100
_MIN_CHARS, _MIN_REPEATS = 300, 6


def is_runaway(text: str) -> bool:
    """Whether the text ends in blanks or in the same words over and over, so that more tokens would bring more of them."""
    if len(text) - len(text.rstrip()) >= _MIN_BLANKS:
        return True
    tail = text[-_TAIL:].rstrip()[::-1]
    return any(
        length >= max(_MIN_CHARS, _MIN_REPEATS * (length - border))
        for length, border in enumerate(_measure_borders(tail), start=1)
    )


def _measure_borders(text: str) -> list[int]:
    """For each beginning of the text, the length of its longest proper part that both begins and ends it."""
    borders = [0] * len(text)
    border = 0
    for index in range(1, len(text)):
        while border and text[index] != text[border]:
            border = borders[border - 1]
        border += text[index] == text[border]
        borders[index] = border
    return borders
