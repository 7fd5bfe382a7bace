"""What an answer says about its own certainty: the evidence for each field of a document, and the quality of a picture."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

NOWHERE = 0  # the page of a value that was looked for and stands on no page
MISSING_ROW = "[?]"  # ends the field of a line on a page that looks like a row of a list and is in none of its rows
_NESTED = re.compile(r"[.\[]")  # in the field of what is in a list or a nested model


@dataclass(frozen=True, slots=True)
class FieldEvidence:
    """The token probabilities of one top-level field's value; None where they are unknown, never a guess.

    `least`, `mean`, `first` and `total` are natural logarithms, `length` counts the value's tokens, and `not_null` is the
    probability of the token that chose a value over null. `confidence` is between 0 and 1. `seen` is the share of the
    field's judged values that the witness saw on a page; None where it judged none or did not look.
    """

    field: str
    least: float | None = None
    mean: float | None = None
    first: float | None = None
    total: float | None = None
    length: int = 0
    not_null: float | None = None
    confidence: float | None = None
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for each field of a document, in the order of the schema.

    `like_labels`: whether the picture is as sharp and as rich in contrast as those on which the score was fitted; None
    where that is unknown.
    """

    fields: tuple[FieldEvidence, ...]
    like_labels: bool | None = None

    @property
    def confidence(self) -> float | None:
        """The least of the known confidences."""
        return min((each.confidence for each in self.fields if each.confidence is not None), default=None)

    def with_sightings(self, sightings: Sightings) -> Evidence:
        """The evidence with the share of each field's values that the witness saw."""
        shares = sightings.shares()
        return replace(self, fields=tuple(replace(each, seen=shares.get(each.field)) for each in self.fields))


@dataclass(frozen=True, slots=True)
class Quality:
    """How sharp and how rich in contrast a picture is (docs/tables.md); None where its pixels were not decoded."""

    sharpness: float | None = None
    contrast: float | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels of the upright original, from its top left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """The height of its centre on the page."""
        return self.y + self.height / 2

    def is_over(self, other: Box) -> bool:
        """Whether the two share a stretch of the page's width."""
        return min(self.right, other.right) > max(self.x, other.x)

    def slice(self, start: float, end: float) -> Box:
        """The part between two shares of its width, from 0 to 1."""
        return Box(self.x + start * self.width, self.y, (end - start) * self.width, self.height)

    @classmethod
    def around(cls, boxes: Iterable[Self]) -> Self:
        """The smallest box around these; at least one."""
        listed = list(boxes)
        left, top = min(each.x for each in listed), min(each.y for each in listed)
        return cls(left, top, max(each.right for each in listed) - left, max(each.bottom for each in listed) - top)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a value stands: its field (`total`, `line_items[0].amount`), and its page and box.

    `page` counts from 1; NOWHERE: the value stands on no page; None: it was not looked for, since its characters prove
    nothing. A row of a list that stands on a page and in no value has the field `line_items[?]`.
    """

    field: str
    page: int | None = None
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Sightings:
    """Where the values of a document stand, in the order of its fields."""

    values: tuple[Sighting, ...]

    def shares(self) -> dict[str, float]:
        """By top-level field the share of its judged values that stand on a page; a missing row is a value that does not."""
        judged: dict[str, list[bool]] = defaultdict(list)
        for each in self.values:
            if each.page is not None:
                is_seen = each.page != NOWHERE and not each.field.endswith(MISSING_ROW)
                judged[_NESTED.split(each.field, 1)[0]].append(is_seen)
        return {name: sum(seen) / len(seen) for name, seen in judged.items()}

    @property
    def unseen(self) -> int:
        """The number of values that stand on no page."""
        return sum(each.page == NOWHERE for each in self.values)

    @property
    def missing_rows(self) -> int:
        """The number of lines that look like rows of a list and are in none of its rows."""
        return sum(each.field.endswith(MISSING_ROW) for each in self.values)
