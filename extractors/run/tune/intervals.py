"""Confidence intervals of a share: how far the true share may be from the one that was counted.

- Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26
  (1934): exact, so never too narrow for any number of trials. Certificates use its one-sided bound.
- Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927): close to its level on
  average, and shorter. Tables and curves use it.
"""

from __future__ import annotations

from functools import lru_cache

from extractors.core.shares import LEVEL, Interval, check_counts, wilson
from extractors.run.tune.extra import import_module

__all__ = ["LEVEL", "Interval", "clopper_pearson", "lower_bound", "trials_needed", "upper_bound", "wilson"]


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """The exact two-sided interval: (0, 1) without trials."""
    tail = 1 - (1 - level) / 2
    return Interval(lower_bound(successes, trials, tail), upper_bound(successes, trials, tail))


def lower_bound(successes: int, trials: int, level: float = LEVEL) -> float:
    """The exact one-sided lower bound of Clopper and Pearson: 30 of 30 at 95 % is 0.905, two-sided 0.884."""
    check_counts(successes, trials)
    if successes == 0:
        return 0.0
    return float(import_module("scipy.special").betaincinv(successes, trials - successes + 1, 1 - level))


def upper_bound(successes: int, trials: int, level: float = LEVEL) -> float:
    """The exact one-sided upper bound."""
    check_counts(successes, trials)
    return 1 - lower_bound(trials - successes, trials, level)


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
