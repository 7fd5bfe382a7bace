"""sample: what a few images say of all of them: how they are drawn, and how far the whole may be from what they say."""

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
_95 = Decimal("1.96")  # standard errors to either side, for 95 %


class Sample(NamedTuple):
    """Of more than `above` documents, `size` are looked at; `for_waits` only where a header is a request, not on disk."""

    above: int
    size: int
    for_waits: bool = False


REMOTE = Sample(20_000, 2_000, for_waits=True)  # when nothing is asked for


def sample_of(asked: str | None) -> Sample | None:
    """The sample that `--sample` asks for: a number, or None for all. Raises ConfigurationError for anything else."""
    if asked is None:
        return REMOTE
    if asked == "all":
        return None
    if not asked.isascii() or not asked.isdecimal() or int(asked) < 2:
        raise ConfigurationError(f"--sample {format_value(asked)}: use a whole number from 2 on, or all")
    return Sample(int(asked), int(asked))


def reservoir_sample(items: Iterable[Item], sample: Sample, seed: str) -> tuple[list[Item], int]:
    """All items, or as many as the sample says, each as likely as any other, in their order; and how many there are.

    One pass and no more memory than `above` items need; the same items and seed give the same sample.
    """
    chance, kept, count = random.Random(seed), list[tuple[int, Item]](), 0  # noqa: S311 - nobody is to be kept out
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
    """The counts in the same proportion, as whole numbers that add up to `total`."""
    whole = sum(counts.values()) or 1
    shares = {name: divmod(count * total, whole) for name, count in counts.items()}
    result = Counter({name: share for name, (share, _) in shares.items()})
    short = total - result.total() if counts else 0
    for name in sorted(shares, key=lambda name: shares[name][1], reverse=True)[:short]:
        result[name] += 1
    return result


def interval(amounts: Sequence[Decimal | None], total: int) -> tuple[Decimal, Decimal] | None:
    """Between which sums the whole of `total` documents lies with 95 %, by these; None when an amount is unknown."""
    known = [amount for amount in amounts if amount is not None]
    if len(known) < len(amounts) or len(known) < 2:
        return None
    mean, share = statistics.fmean(known), len(known) / total
    error = statistics.stdev(map(float, known)) / math.sqrt(len(known)) * math.sqrt(max(1 - share, 0))
    middle, margin = Decimal(mean) * total, _95 * Decimal(error) * total
    return max(middle - margin, Decimal(0)).quantize(NANO), (middle + margin).quantize(NANO)
