"""Where the values of a document stand on its pages, and which lines look like rows of its lists and are in none.

| a value | is |
|---|---|
| text, number, date, time, also in lists and nested models | looked for |
| null, a boolean, an enumeration or literal, 0, one letter | not judged |
| a whole number of one digit | judged where the value has decimals; in a list not judged, but placed on its row |
| a currency's code that is not printed | not judged: it follows from a symbol or a country |
| one of several equal places | the one nearest to its row, else to its label, else the first |
"""

from __future__ import annotations

import enum
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from extractors.core.evidence import MISSING_ROW, NOWHERE, Sighting, Sightings
from extractors.core.plain_values import ARRAYS, members
from extractors.validate.witness.missing_rows import MOST_MISSING, RowLine, find_missing_rows
from extractors.validate.witness.pages import Number, SearchPage, find_digit, find_value, is_one_digit
from extractors.validate.witness.texts import fold_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extractors.core.evidence import Box
    from extractors.validate.witness.pages import Place
    from extractors.validate.witness.words import PageLine

MOST_VALUES = 20_000  # of one document; those beyond are not looked for
_NESTED = re.compile(r"[.\[]")  # in the field of what is in a list or a nested model
_LABEL_RANK = 4.0
_BESIDE = 0.4  # what a cell counts for the lines above and below it: a row may stand on two lines


class _Value(NamedTuple):
    """A value with its field, and the row of a list that holds it: the list's field and the number of the row."""

    field: str
    name: str
    value: object
    row: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A value, and its places; None where it is not judged. `is_digit`: it counts on its row only."""

    value: _Value
    places: list[Place] | None
    is_digit: bool = False


def find_sightings(document: BaseModel, pages: Sequence[tuple[PageLine, ...]]) -> Sightings:
    """Where each value of a document stands on these pages, which OCR has read."""
    searched = [SearchPage(number, lines) for number, lines in enumerate(pages, 1) if lines]
    closed = {name for name, field in type(document).model_fields.items() if _is_closed(field.annotation)}
    values = [value for value, _ in zip(_iter_values(document, closed), range(MOST_VALUES), strict=False)]
    found = [_find(value, searched) for value in values]
    rows = _place_rows([each for each in found if each.value.row and each.places and not each.is_digit])
    by_number = {page.number: page for page in searched}
    taken: dict[tuple[str, int] | None, set[Box]] = defaultdict(set)
    sightings = [_choose(each, rows, by_number, taken[each.value.row]) for each in found]
    judged = [each for each in sightings if each.page is not None or not _NESTED.search(each.field)]
    return Sightings((*judged, *_list_missing(found, rows, by_number)))


def _find(value: _Value, pages: Sequence[SearchPage]) -> _Found:
    if value.row is not None and is_one_digit(value.value):
        return _Found(value, find_digit(value.value, pages), is_digit=True)  # type: ignore[arg-type]  # a number
    return _Found(value, find_value(value.value, pages))


def _iter_values(document: BaseModel, closed: set[str]) -> Iterator[_Value]:
    """The values of a document that are no structures, in their order; a field of fixed values has none."""
    for name, value in members(document).items():
        if isinstance(value, (BaseModel, dict, *ARRAYS)):
            yield _Value(name, name, None)
        yield from _iter_nested(name, name, None if name in closed else value, None)


def _iter_nested(field: str, name: str, value: object, row: tuple[str, int] | None) -> Iterator[_Value]:
    if isinstance(value, enum.Enum):
        yield _Value(field, name, None, row)
    elif isinstance(value, BaseModel | dict):
        closed = _list_closed(value)
        for key, member in members(value).items():
            yield from _iter_nested(f"{field}.{key}", str(key), None if key in closed else member, row)
    elif isinstance(value, ARRAYS):
        for number, item in enumerate(value):
            yield from _iter_nested(f"{field}[{number}]", str(number) if row else name, item, row or (field, number))
    else:
        yield _Value(field, name, value, row)


def _list_closed(value: object) -> set[str]:
    if not isinstance(value, BaseModel):
        return set()
    return {name for name, field in type(value).model_fields.items() if _is_closed(field.annotation)}


def _is_closed(annotation: object) -> bool:
    """Whether a field has one of several fixed values."""
    if get_origin(annotation) is Literal:
        return True
    parts = [each for each in get_args(annotation) if each is not type(None)]
    return len(parts) == 1 and get_origin(annotation) not in ARRAYS and _is_closed(parts[0])


def _place_rows(found: Sequence[_Found]) -> dict[tuple[str, int], tuple[int, int]]:
    """The page and line of each row of a list: where most of its values stand, on no line twice, from top to bottom."""
    cells: dict[tuple[str, int], list[list[Place]]] = defaultdict(list)
    for each in found:
        assert each.value.row is not None
        cells[each.value.row].append(each.places or [])
    lines: dict[tuple[str, int], tuple[int, int]] = {}
    taken: dict[str, set[tuple[int, int]]] = defaultdict(set)
    last: dict[str, tuple[int, int]] = {}
    for row, places in cells.items():
        list_field = row[0]
        votes: dict[tuple[int, int], float] = defaultdict(float)
        for cell in places:
            for page, number in {(place.page, place.line) for place in cell}:
                votes[page, number] += 1
                votes[page, number - 1] += _BESIDE
                votes[page, number + 1] += _BESIDE
        line = max(votes, key=lambda each: _rank_line(each, votes[each], taken[list_field], last.get(list_field)))
        lines[row] = last[list_field] = line
        taken[list_field].add(line)
    return lines


def _rank_line(
    line: tuple[int, int], votes: float, taken: set[tuple[int, int]], last: tuple[int, int] | None
) -> tuple[float, int, int]:
    """Prefers lines with more cells of a row, that no other row has, below the row before, the first of them."""
    rank = votes - 0.9 * (line in taken) + 0.5 * (last is None or line > last)
    return rank, -line[0], -line[1]


def _choose(
    found: _Found,
    rows: Mapping[tuple[str, int], tuple[int, int]],
    pages: Mapping[int, SearchPage],
    taken: set[Box],
) -> Sighting:
    """The sighting of a value: the best of its places, in a row one that no other value of the row has."""
    if found.places is None:
        return Sighting(found.value.field)
    line = rows.get(found.value.row) if found.value.row else None
    places = found.places
    if found.is_digit:
        places = [place for place in places if line and place.page == line[0] and abs(place.line - line[1]) <= 1]
    if not places:
        return Sighting(found.value.field, None if found.is_digit else NOWHERE)
    if line is None:
        words = [fold_text(word)[0] for word in found.value.name.split("_")]
        best = max(places, key=lambda place: place.rank + _rank_label(place, words, pages[place.page]))
    else:
        best = min(places, key=lambda place: _rank_in_row(place, line, taken))
        taken.add(best.box)
    return Sighting(found.value.field, best.page, best.box)


def _rank_in_row(place: Place, line: tuple[int, int], taken: set[Box]) -> tuple[bool, int, bool, float]:
    """Prefers what is near the line of the row, and that no other value of the row has."""
    far = abs(place.line - line[1])
    return place.page != line[0], max(0, far - 1), place.box in taken, far - place.rank


def _rank_label(place: Place, words: Sequence[str], page: SearchPage) -> float:
    """How well the words of a field's name label this place, from 0 to 4."""
    return _LABEL_RANK * page.count_labels(place, words) / len(words)


def _list_missing(
    found: Sequence[_Found], rows: Mapping[tuple[str, int], tuple[int, int]], pages: Mapping[int, SearchPage]
) -> list[Sighting]:
    """The lines that look like rows of a list and are in none."""
    used: dict[int, set[int]] = defaultdict(set)
    for place in (place for each in found if each.value.row is None for place in each.places or ()):
        used[place.page].add(place.line)
    cells: dict[tuple[str, int], list[_Found]] = defaultdict(list)
    for each in found:
        if each.value.row is not None and each.value.row in rows:
            cells[each.value.row].append(each)
    lists: dict[str, list[RowLine]] = defaultdict(list)
    for row, placed in cells.items():
        lists[row[0]].append(_build_row_line(rows[row], placed))
    missing = (
        (list_field, page, box)
        for list_field, row_lines in lists.items()
        for page, box in find_missing_rows(row_lines, pages, used)
    )
    return [
        Sighting(f"{list_field}{MISSING_ROW}", page, box)
        for (list_field, page, box), _ in zip(missing, range(MOST_MISSING), strict=False)
    ]


def _build_row_line(line: tuple[int, int], cells: Sequence[_Found]) -> RowLine:
    """A row as it stands on its page: what of its cells stands on its line, or beside it."""
    page, number = line
    near = {
        each.value.name: (each.value.value, min(close, key=lambda place: (abs(place.line - number), -place.box.right)))
        for each in cells
        if (close := [place for place in each.places or () if place.page == page and abs(place.line - number) <= 1])
    }
    numbers = {name: place.box for name, (value, place) in near.items() if _is_numeric(value)}
    amount = max(
        (place for value, place in near.values() if _is_numeric(value)), key=lambda each: each.box.right, default=None
    )
    lines = frozenset(place.line for _, place in near.values())
    return RowLine(page, number if amount is None else amount.line, lines | {number}, numbers)


def _is_numeric(value: object) -> bool:
    return isinstance(value, Number) or (isinstance(value, str) and not re.search(r"[^\W\d_]{2}", value))
