"""Whether confidence ranks: whether wrong values have a lower confidence than right ones, and how often it holds.

- The area under the ROC curve is the probability that a right value has a higher confidence than a wrong one, ties
  counting half (Mann & Whitney 1947); its interval is that of Hanley & McNeil, Radiology 143 (1982).
- Risk against coverage: the share of errors among the values of highest confidence, by how many of all values these are
  (El-Yaniv & Wiener, JMLR 11, 2010).
- Reliability: the share of right values by confidence, in bins of equal counts; the expected calibration error is the mean
  distance of the two (Naeini et al., AAAI 2015). A calibrated confidence need not rank.

Area and risk from few errors are chance: they are given from 30 errors (and 30 right values) on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, NamedTuple

from extractors.run.tune.intervals import Interval, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.run.tune.choices import Publication

ALL = "all"  # the name of all fields together
LEAST_ERRORS = 30
MOST_BINS = 10
LEAST_IN_BIN = 10


class ScoredValue(NamedTuple):
    """A labelled value with its confidence; None: unknown, it is counted and not ranked."""

    confidence: float | None
    right: bool


class CoveragePoint(NamedTuple):
    """The values of at least this confidence: their share of all, and the share of errors among them."""

    confidence: float
    coverage: float
    risk: float


class ReliabilityBin(NamedTuple):
    """Values of neighbouring confidence: the mean of it, and the share that is right, with its interval."""

    confidence: float
    right: float
    interval: Interval
    size: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well confidence ranks these values. `auc`, its interval and `coverage` are None and empty from too few errors."""

    errors: int
    rights: int
    unknown: int
    auc: float | None = None
    auc_interval: Interval | None = None
    coverage: tuple[CoveragePoint, ...] = ()
    bins: tuple[ReliabilityBin, ...] = ()
    ece: float | None = None

    @property
    def ranks(self) -> bool | None:
        """Whether the area is above that of chance beyond its interval; None where that cannot be told."""
        return None if self.auc_interval is None else self.auc_interval.low > 0.5

    @property
    def words(self) -> str:
        """The verdict in words."""
        if self.auc is None or self.auc_interval is None:
            few, name = (self.errors, "errors") if self.errors < LEAST_ERRORS else (self.rights, "right values")
            return f"cannot be told from {few} {name if few != 1 else name.removesuffix('s')}"
        low, high = self.auc_interval
        verdict = "confidence ranks" if self.ranks else "confidence cannot rank"
        return f"{verdict}: area under the curve {self.auc:.2f} ({low:.2f} to {high:.2f}) from {self.errors} errors"


def rank_scores(values: Sequence[ScoredValue]) -> Ranking:
    """The ranking of labelled values, pooled over fields. Only values with a confidence count as errors and rights."""
    known = sorted((value.confidence, value.right) for value in values if value.confidence is not None)
    rights = sum(right for _, right in known)
    errors = len(known) - rights
    bins = _fill_bins(known)
    ece = sum(each.size * abs(each.confidence - each.right) for each in bins) / len(known) if known else None
    ranking = Ranking(errors, rights, len(values) - len(known), bins=bins, ece=ece)
    if min(errors, rights) < LEAST_ERRORS:
        return ranking
    auc = measure_auc(known)
    return Ranking(
        errors, rights, ranking.unknown, auc, _auc_interval(auc, errors, rights), _measure_coverage(known), bins, ece
    )


def measure_auc(known: Sequence[tuple[float, bool]]) -> float:
    """The area under the curve of (confidence, right). Raises ValueError without an error or without a right value."""
    rights = sum(right for _, right in known)
    errors = len(known) - rights
    if not (rights and errors):
        raise ValueError("an area needs an error and a right value")
    below, wins = 0, 0.0
    for _, group in groupby(sorted(known), key=lambda value: value[0]):
        verdicts = [right for _, right in group]
        wins += sum(verdicts) * (below + (len(verdicts) - sum(verdicts)) / 2)
        below += len(verdicts) - sum(verdicts)
    return wins / (rights * errors)


def _auc_interval(auc: float, errors: int, rights: int) -> Interval:
    """95 %, by the standard error of Hanley and McNeil."""
    both_above, both_below = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (rights - 1) * (both_above - auc * auc) + (errors - 1) * (both_below - auc * auc)
    half = NormalDist().inv_cdf(0.975) * math.sqrt(max(0.0, variance) / (rights * errors))
    return Interval(max(0.0, auc - half), min(1.0, auc + half))


def _measure_coverage(known: Sequence[tuple[float, bool]]) -> tuple[CoveragePoint, ...]:
    """A point for each confidence, from the highest on."""
    points: list[CoveragePoint] = []
    covered = wrong = 0
    for confidence, group in groupby(reversed(known), key=lambda value: value[0]):
        verdicts = [right for _, right in group]
        covered, wrong = covered + len(verdicts), wrong + len(verdicts) - sum(verdicts)
        points.append(CoveragePoint(confidence, covered / len(known), wrong / covered))
    return tuple(points)


def _fill_bins(known: Sequence[tuple[float, bool]]) -> tuple[ReliabilityBin, ...]:
    """Bins of about equal counts, lowest confidence first; equal confidences share a bin, and none is empty."""
    wanted = max(1, min(MOST_BINS, len(known) // LEAST_IN_BIN))
    bins: list[list[tuple[float, bool]]] = []
    placed = 0
    for _, group in groupby(known, key=lambda value: value[0]):
        values = list(group)
        if not bins or placed >= len(known) * len(bins) / wanted:
            bins.append([])
        bins[-1] += values
        placed += len(values)
    return tuple(_summarize_bin(values) for values in bins)


def _summarize_bin(values: Sequence[tuple[float, bool]]) -> ReliabilityBin:
    rights = sum(right for _, right in values)
    confidence = fmean(confidence for confidence, _ in values)
    return ReliabilityBin(confidence, rights / len(values), wilson(rights, len(values)), len(values))


def rank_published(fields: Sequence[str], published: Sequence[Publication]) -> dict[str, Ranking]:
    """Whether the confidences of what is published rank: by field, and of all fields together."""
    values = {name: [value for each in published for value in _list_values(each, name)] for name in fields}
    pooled = [value for listed in values.values() for value in listed]
    return {name: rank_scores(listed) for name, listed in [*values.items(), (ALL, pooled)]}


def rank_all(published: Sequence[Publication]) -> Ranking:
    """Whether the confidences of what is published rank, all labelled fields together."""
    fields = dict.fromkeys(each.field for publication in published for each in publication.reading.comparisons)
    return rank_scores([value for each in published for name in fields for value in _list_values(each, name)])


def _list_values(publication: Publication, name: str) -> list[ScoredValue]:
    confidence = publication.confidences.get(name)
    return [ScoredValue(confidence, each.right) for each in publication.reading.comparisons if each.field == name]
