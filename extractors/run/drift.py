"""Drift: reports where a run's answers differ from those of earlier runs, or its pictures from labelled ones, by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.money import dollars
from extractors.record.output.base import writing
from extractors.record.tables.profile import MIN_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.record.tables.profile import RunProfile
    from extractors.record.tables.volume import Volume
    from extractors.validate.score import Score

MAX_ERRORS = (
    3  # standard errors of a difference: chance goes further once in 370 times, and hardly ever past all of seven
)
ACCIDENTS = 2  # documents: of a share near nothing, standard errors alone would warn of a single one
COST_MARGIN = Decimal("0.2")
MIN_UNLIKE, MAX_UNLIKE_SHARE = 5, 0.25  # pictures outside of the range of the labelled ones


@dataclass(frozen=True, slots=True)
class _Share:
    """A share of 1, and of how many."""

    value: float
    count: int


def find_drift(now: RunProfile, past: Sequence[RunProfile]) -> list[str]:
    """Returns a sentence for each null share, accepted share, climbed share and cost outside of the range of the past.

    `past` are runs of the same source and schema. Runs of fewer than 200 rows, or without a past, have none.
    """
    if now.rows < MIN_ROWS or not past:
        return []
    warnings = [_check_nulls(name, now, past) for name in now.nulls]
    warnings += [_check_accepted(now, past), _check_climbed(now, past), _check_cost(now, past)]
    return [sentence for sentence in warnings if sentence]


def find_unlike_pictures(volume: Volume, score: Score | None) -> list[str]:
    """Returns a sentence where many pictures of the volume are unlike those on which the stored score was measured.

    Of thirty labels, one picture in eight of the same kind is outside of their range by chance.
    """
    if score is None:
        return []
    limits = {"sharpness": score.quality.sharpness, "contrast": score.quality.contrast}
    outside = [~pl.col(name).is_between(*ends) for name, ends in limits.items() if ends is not None]
    unlike = pl.any_horizontal(each.fill_null(value=False) for each in outside or [pl.lit(value=False)])
    with writing(volume.output):
        measured = volume.scan("images").filter(pl.any_horizontal(pl.col(name).is_not_null() for name in limits))
        count, pictures = measured.select(unlike.sum().alias("unlike"), pl.len()).collect().row(0)
    if count < MIN_UNLIKE or count <= MAX_UNLIKE_SHARE * pictures:
        return []
    words = f"{count:,} of {pictures:,} measured pictures are sharper, less sharp or of another contrast than those on which"
    return [f"{words} the stored score was measured: label some of them and run `tilewise tune --apply` again"]


def _check_nulls(name: str, now: RunProfile, past: Sequence[RunProfile]) -> str | None:
    known = [_Share(each.nulls[name], _answers(each)) for each in past if name in each.nulls]
    today = _Share(now.nulls[name], _answers(now))
    if not _is_outside(today, known):
        return None
    return f"{name} is null in {_percent(today.value)} of {today.count:,} rows; it was in {_shares(known)}"


def _check_accepted(now: RunProfile, past: Sequence[RunProfile]) -> str | None:
    known = [_Share(each.accepted, each.rows) for each in past]
    if not _is_outside(_Share(now.accepted, now.rows), known):
        return None
    return f"{_percent(now.accepted)} of {now.rows:,} documents were accepted; it was {_shares(known)}"


def _check_climbed(now: RunProfile, past: Sequence[RunProfile]) -> str | None:
    known = [_Share(each.climbed, each.rows) for each in past if each.climbed is not None]
    if now.climbed is None or not _is_outside(_Share(now.climbed, now.rows), known):
        return None
    return f"{_percent(now.climbed)} of {now.rows:,} documents climbed to another rung; it was {_shares(known)}"


def _check_cost(now: RunProfile, past: Sequence[RunProfile]) -> str | None:
    known = [each.cost for each in past if each.cost is not None]
    if now.cost is None or not known:
        return None
    low, high = min(known), max(known)
    if low * (1 - COST_MARGIN) <= now.cost <= high * (1 + COST_MARGIN):
        return None
    before = _span(dollars(low), dollars(high))
    return f"a document cost {dollars(now.cost)}; it was {before} in {_runs(len(known))}"


def _answers(profile: RunProfile) -> int:
    """The accepted documents: those that have fields."""
    return round(profile.rows * profile.accepted)


def _is_outside(today: _Share, known: Sequence[_Share]) -> bool:
    """Whether this share is outside of the known ones by more than chance."""
    if not known or not today.count:
        return False
    low, high = min(known, key=lambda each: each.value), max(known, key=lambda each: each.value)
    above, below = today.value - high.value, low.value - today.value
    return above > _margin(today, high) or below > _margin(today, low)


def _margin(today: _Share, other: _Share) -> float:
    """The difference that chance explains between two samples of one share, in shares of 1."""
    hits = today.value * today.count + other.value * other.count
    pooled = (hits + 1) / (today.count + other.count + 2)  # smoothed: 0 of 200 does not prove that it is never
    error = sqrt(pooled * (1 - pooled) * (1 / today.count + 1 / max(1, other.count)))
    return MAX_ERRORS * error + ACCIDENTS / today.count


def _shares(known: Sequence[_Share]) -> str:
    low, high = min(each.value for each in known), max(each.value for each in known)
    return f"{_span(_percent(low), _percent(high))} of them in {_runs(len(known))}"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _runs(count: int) -> str:
    return "the last run" if count == 1 else f"the last {count} runs"
