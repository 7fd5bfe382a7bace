"""How a value is compared with the true one, by the type of its field.

| kind | right where |
|---|---|
| `flag` `choice` | the same value |
| `number` | equal by value; text such as `$8.20` is read as a number |
| `date` | the same instant, or the same day where one is a day only |
| `time` | the same time of day |
| `text` | the same folded text, or nearly (text_similarity.py) |
| `list` | each true row has a read row that is right, and no row is left over; the order does not count |
| `object` | each field that the label has is right |
| `json` | the same JSON, in any order of keys |

Null is right beside null only; blank text, empty lists and structures of nulls are null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from extractors.core import plain_values
from extractors.core.plain_values import canonical_json, canonical_text, is_null, members
from extractors.run.tune.extra import import_module
from extractors.run.tune.measurements import FieldKind, FieldMatch
from extractors.run.tune.row_matching import pair_rows
from extractors.run.tune.text_similarity import is_same_text, text_similarity

if TYPE_CHECKING:
    from collections.abc import Callable


class Matcher(Protocol):
    """Compares the values of one type."""

    @property
    def kind(self) -> FieldKind:
        """The kind of field."""

    def match(self, read: object, true: object) -> FieldMatch:
        """The read value beside the true one. Raises ValueError for a true value of another type."""


def match_nulls(read: object, true: object) -> FieldMatch | None:
    """The match where a value is null; None where neither is."""
    read_null, true_null = is_null(read), is_null(true)
    if not (read_null or true_null):
        return None
    both = read_null and true_null
    return FieldMatch(right=both, similarity=float(both), read_null=read_null, true_null=true_null)


@dataclass(frozen=True, slots=True)
class ScalarMatcher:
    """Compares values that are read the same way and are equal or not."""

    kind: FieldKind
    convert: Callable[[object], object]
    is_same: Callable[[object, object], bool]

    def match(self, read: object, true: object) -> FieldMatch:
        """A read value of another type is wrong."""
        if (match := match_nulls(read, true)) is not None:
            return match
        expected = self.convert(true)
        try:
            same = self.is_same(self.convert(read), expected)
        except ValueError:
            same = False
        return FieldMatch(right=same, similarity=float(same))


@dataclass(frozen=True, slots=True)
class TextMatcher:
    """Compares texts by edit similarity."""

    kind: FieldKind = "text"

    def match(self, read: object, true: object) -> FieldMatch:
        """Values that are not text are compared as their JSON."""
        if (match := match_nulls(read, true)) is not None:
            return match
        read_text, true_text = plain_values.to_text(read), plain_values.to_text(true)
        similarity = text_similarity(read_text, true_text)
        return FieldMatch(right=is_same_text(read_text, true_text, similarity), similarity=similarity)


@dataclass(frozen=True, slots=True)
class JsonMatcher:
    """Compares structures without a type, as canonical JSON."""

    kind: FieldKind = "json"

    def match(self, read: object, true: object) -> FieldMatch:
        """The similarity is the edit similarity of the JSON."""
        if (match := match_nulls(read, true)) is not None:
            return match
        texts = canonical_json(read), canonical_json(true)
        similarity = import_module("rapidfuzz.distance").Levenshtein.normalized_similarity(*texts)
        return FieldMatch(right=texts[0] == texts[1], similarity=float(similarity))


@dataclass(frozen=True, slots=True)
class ObjectMatcher:
    """Compares nested documents field by field; fields that the label leaves out are not scored."""

    fields: dict[str, Matcher]
    kind: FieldKind = "object"

    def match(self, read: object, true: object) -> FieldMatch:
        """The similarity is the mean of the fields that one of the two has."""
        if (match := match_nulls(read, true)) is not None:
            return match
        given, labelled = members(read), members(true)
        matches = [self.fields[name].match(given.get(name), labelled[name]) for name in self.fields if name in labelled]
        shown = [match.similarity for match in matches if not (match.read_null and match.true_null)]
        return FieldMatch(
            right=all(match.right for match in matches), similarity=sum(shown) / len(shown) if shown else 1.0
        )


@dataclass(frozen=True, slots=True)
class SequenceMatcher:
    """Compares lists whose places matter: the cells of a table's row, and tuples."""

    items: tuple[Matcher, ...]  # the last one is for all further places
    kind: FieldKind = "list"

    def match(self, read: object, true: object) -> FieldMatch:
        """Place by place."""
        rows, expected = _read_rows(read), _true_rows(true)
        longest = max(len(rows), len(expected))
        matches = [
            self.items[min(place, len(self.items) - 1)].match(
                rows[place] if place < len(rows) else None, expected[place] if place < len(expected) else None
            )
            for place in range(longest)
        ]
        missing, invented = max(0, len(expected) - len(rows)), max(0, len(rows) - len(expected))
        similarity = sum(match.similarity for match in matches) / longest if longest else 1.0
        right = not (missing or invented) and all(match.right for match in matches)
        return FieldMatch(right, similarity, not rows, not expected, len(expected), missing, invented)


@dataclass(frozen=True, slots=True)
class ListMatcher:
    """Compares lists by the best matching of their rows, in any order."""

    item: Matcher
    kind: FieldKind = "list"

    def match(self, read: object, true: object) -> FieldMatch:
        """The similarity is the sum of that of the pairs, as a share of the longer list."""
        rows = [row for row in _read_rows(read) if not is_null(row)]
        expected = [row for row in _true_rows(true) if not is_null(row)]
        pairs = pair_rows(rows, expected, canonical_text, lambda *pair: self.item.match(*pair).similarity)
        matches = [self.item.match(rows[pair.read], expected[pair.true]) for pair in pairs]
        missing, invented = len(expected) - len(pairs), len(rows) - len(pairs)
        longest = max(len(rows), len(expected))
        similarity = sum(match.similarity for match in matches) / longest if longest else 1.0
        right = not (missing or invented) and all(match.right for match in matches)
        return FieldMatch(right, similarity, not rows, not expected, len(expected), missing, invented)


def _read_rows(value: object) -> list[object]:
    return [*cast("list[object]", value)] if isinstance(value, plain_values.ARRAYS) else []


def _true_rows(value: object) -> list[object]:
    if not (is_null(value) or isinstance(value, plain_values.ARRAYS)):
        raise ValueError(f"{value!r} is no list")
    return _read_rows(value)


def _equal(read: object, true: object) -> bool:
    return read == true


FLAG = ScalarMatcher("flag", plain_values.to_flag, _equal)
NUMBER = ScalarMatcher(
    "number", plain_values.to_number, cast("Callable[[object, object], bool]", plain_values.is_same_number)
)
DATE = ScalarMatcher(
    "date", plain_values.to_moment, cast("Callable[[object, object], bool]", plain_values.is_same_moment)
)
TIME = ScalarMatcher("time", plain_values.to_time, _equal)
CHOICE = ScalarMatcher("choice", plain_values.to_choice, _equal)
TEXT = TextMatcher()
JSON = JsonMatcher()
