"""Free text made of what was read, and of nothing else: sentences, lists, what several pictures share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.labels import letters

if TYPE_CHECKING:
    from extractors.endpoint.ocr.words import Line, OcrDocument

_QUOTED = 200  # characters of the words in a sentence
_TAGS = 8
_UNREAD = "not read in this picture"


def sentence(document: OcrDocument) -> str:
    """One honest sentence about the pictures: the words that are readable in them."""
    many = f"{len(document.pages)} pictures" if len(document.pages) > 1 else "A picture"
    words = " / ".join(document.texts)
    if not words:
        return f"{many} without readable words."
    shown = words if len(words) <= _QUOTED else words[:_QUOTED].rsplit(" ", 1)[0] + " ..."
    return f'{many} with the words "{shown}".'


def one_by_one(document: OcrDocument) -> list[str]:
    """The same of every picture alone."""
    return [sentence(replace(document, pages=(page,))) for page in document.pages]


def tags(document: OcrDocument) -> list[str]:
    """The longest words, once each, in reading order."""
    words = dict.fromkeys(each.lower() for text in document.texts for each in re.findall(r"[^\W\d_]{4,}", text))
    kept = set(sorted(words, key=len, reverse=True)[:_TAGS])
    return [each for each in words if each in kept]


def list_shared_lines(document: OcrDocument) -> list[str]:
    """The lines that every picture has."""
    first, *others = document.pages or ((),)
    keys = [{_key(line) for line in page} for page in others]
    return [line.text for line in first if others and all(_key(line) in each for each in keys)]


def different(document: OcrDocument) -> list[str]:
    """The lines that not every picture has, each with its picture's number."""
    common = {_key(line) for line in document.lines}
    for page in document.pages:
        common &= {_key(line) for line in page}
    pages = enumerate(document.pages, start=1)
    return [
        f"only picture {number}: {line.text}" for number, page in pages for line in page if _key(line) not in common
    ]


def compare_lines(document: OcrDocument) -> list[tuple[str, list[str]]]:
    """The lines that not every picture has, once each, with what was read in every picture."""
    pages = [{_key(line): line.text for line in page} for page in document.pages]
    lines: dict[str, str] = {}
    for page in pages:
        lines |= {key: text for key, text in page.items() if key not in lines}
    readings = [(text, [page.get(key) for page in pages]) for key, text in lines.items()]
    return [(text, [_UNREAD if each is None else each for each in every]) for text, every in readings if None in every]


def _key(line: Line) -> str:
    return letters(line.text) + "".join(filter(str.isdigit, line.text))
