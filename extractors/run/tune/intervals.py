"""Confidence intervals of a share: how far the true share may be from the one that was counted.

- Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26
  (1934): exact, so never too narrow for any number of trials. Certificates use its one-sided bound.
- Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927): close to its level on
  average, and shorter. Tables and curves use it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from extractors.run.tune.extra import import_module

LEVEL = 0.95


class Interval(NamedTuple):
    """The lowest and the highest share that fit what was counted."""

    low: float
    high: float


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """The exact two-sided interval: (0, 1) without trials."""
    tail = 1 - (1 - level) / 2
    return Interval(lower_bound(successes, trials, tail), upper_bound(successes, trials, tail))


def lower_bound(successes: int, trials: int, level: float = LEVEL) -> float:
    """The exact one-sided lower bound of Clopper and Pearson: 30 of 30 at 95 % is 0.905, two-sided 0.884."""
    _check_counts(successes, trials)
    if successes == 0:
        return 0.0
    return float(import_module("scipy.special").betaincinv(successes, trials - successes + 1, 1 - level))


def upper_bound(successes: int, trials: int, level: float = LEVEL) -> float:
    """The exact one-sided upper bound."""
    _check_counts(successes, trials)
    return 1 - lower_bound(trials - successes, trials, level)


def wilson(successes: float, trials: int, level: float = LEVEL) -> Interval:
    """Wilson's two-sided score interval: (0, 1) without trials. `successes` may be a mean over fields."""
    _check_counts(successes, trials)
    if trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(1 - (1 - level) / 2)
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return Interval(
        0.0 if successes == 0 else max(0.0, centre - half), 1.0 if successes == trials else min(1.0, centre + half)
    )


@lru_cache(maxsize=4096)  # a certificate needs the same few for every threshold
def trials_needed(target: float, errors: int = 0, level: float = LEVEL) -> int:
    """The fewest trials, this many of them errors, whose lower bound reaches the target: 299 for 0.99 without an error."""
    low, high = errors, max(1, errors)
    while lower_bound(high - errors, high, level) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if lower_bound(middle - errors, middle, level) < target:
            low = middle
        else:
            high = middle
    return high


def _check_counts(successes: float, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
