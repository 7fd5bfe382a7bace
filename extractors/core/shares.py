"""A share of counted things, and how far the true one may be from it.

Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927): close to its level on
average, and short.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95


class Interval(NamedTuple):
    """The lowest and the highest share that fit what was counted."""

    low: float
    high: float


def wilson(successes: float, trials: int, level: float = LEVEL) -> Interval:
    """Wilson's two-sided score interval: (0, 1) without trials. `successes` may be a mean over fields."""
    check_counts(successes, trials)
    if trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(1 - (1 - level) / 2)
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return Interval(
        0.0 if successes == 0 else max(0.0, centre - half), 1.0 if successes == trials else min(1.0, centre + half)
    )


def check_counts(successes: float, trials: int) -> None:
    """Raises ValueError for counts that are no share."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
