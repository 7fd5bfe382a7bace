"""Sampling: how a sample of documents is drawn, scaled to all of them, and how wide its confidence interval is."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from extractors.core.errors import ConfigurationError, format_value
from extractors.core.money import NANO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Item = TypeVar("Item")
Name = TypeVar("Name")
Z_95 = Decimal("1.96")  # standard errors to either side, for 95 %


class Sample(NamedTuple):
    """Of more than `above` documents, `size` are read; `for_waits`: only where reading a header is a request."""

    above: int
    size: int
    for_waits: bool = False


REMOTE = Sample(20_000, 2_000, for_waits=True)  # without --sample


def sample_of(value: str | None) -> Sample | None:
    """Parses `--sample`: a number, `all` (None), or nothing. Raises ConfigurationError for anything else."""
    if value is None:
        return REMOTE
    if value == "all":
        return None
    if not value.isascii() or not value.isdecimal() or int(value) < 2:
        raise ConfigurationError(f"--sample {format_value(value)}: use a whole number from 2 on, or all")
    return Sample(int(value), int(value))


def reservoir_sample(items: Iterable[Item], sample: Sample, seed: str) -> tuple[list[Item], int]:
    """Draws a sample, each item with the same probability, in order; returns it with the number of all items.

    It takes one pass and the memory of `above` items; the same items and seed give the same sample.
    """
    chance, kept, count = random.Random(seed), list[tuple[int, Item]](), 0  # noqa: S311 - not for security
    for count, item in enumerate(items, 1):
        if count <= sample.above:
            kept.append((count, item))
            continue
        if count == sample.above + 1:
            kept = chance.sample(kept, sample.size)
        if (place := chance.randrange(count)) < sample.size:
            kept[place] = (count, item)
    return [item for _, item in sorted(kept, key=lambda each: each[0])], count


def apportion(counts: Mapping[Name, int], total: int) -> Counter[Name]:
    """Scales the counts to whole numbers that add up to `total`."""
    whole = sum(counts.values()) or 1
    shares = {name: divmod(count * total, whole) for name, count in counts.items()}
    result = Counter({name: share for name, (share, _) in shares.items()})
    short = total - result.total() if counts else 0
    for name in sorted(shares, key=lambda name: shares[name][1], reverse=True)[:short]:
        result[name] += 1
    return result


def interval(amounts: Sequence[Decimal | None], total: int) -> tuple[Decimal, Decimal] | None:
    """The 95 % confidence interval of the sum over `total` documents; None when an amount is unknown."""
    known = [amount for amount in amounts if amount is not None]
    if len(known) < len(amounts) or len(known) < 2:
        return None
    mean, share = statistics.fmean(known), len(known) / total
    error = statistics.stdev(map(float, known)) / math.sqrt(len(known)) * math.sqrt(max(1 - share, 0))
    middle, margin = Decimal(mean) * total, Z_95 * Decimal(error) * total
    return max(middle - margin, Decimal(0)).quantize(NANO), (middle + margin).quantize(NANO)
