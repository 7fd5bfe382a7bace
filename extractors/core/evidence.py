"""What an answer says about its own certainty: the evidence for each field of a document, and the quality of a picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldEvidence:
    """The token probabilities of one top-level field's value; None where they are unknown, never a guess.

    `least`, `mean`, `first` and `total` are natural logarithms, `length` counts the value's tokens, and `not_null` is the
    probability of the token that chose a value over null. `confidence` is between 0 and 1.
    """

    field: str
    least: float | None = None
    mean: float | None = None
    first: float | None = None
    total: float | None = None
    length: int = 0
    not_null: float | None = None
    confidence: float | None = None


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


@dataclass(frozen=True, slots=True)
class Quality:
    """How sharp and how rich in contrast a picture is (docs/tables.md); None where its pixels were not decoded."""

    sharpness: float | None = None
    contrast: float | None = None
