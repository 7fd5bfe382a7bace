"""Rows of two lists paired so that the sum of their similarities is the largest (the assignment problem, Kuhn 1955)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from extractors.run.tune.extra import import_module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST_SIMILAR = 0.5  # rows that share less than half are two rows, one missing and one invented


class Pair(NamedTuple):
    """The positions of a read row and of the true row that it stands for."""

    read: int
    true: int


def pair_rows(
    read: Sequence[object],
    true: Sequence[object],
    canonical: Callable[[object], str],
    similarity: Callable[[object, object], float],
) -> list[Pair]:
    """The pairs, in the order of the true rows. Rows of one canonical text are paired first, which never costs a pair."""
    pairs = _pair_equal([canonical(row) for row in read], [canonical(row) for row in true])
    left_read = [place for place in range(len(read)) if place not in {pair.read for pair in pairs}]
    left_true = [place for place in range(len(true)) if place not in {pair.true for pair in pairs}]
    if left_read and left_true:
        table = [[similarity(read[row], true[column]) for column in left_true] for row in left_read]
        rows, columns = import_module("scipy.optimize").linear_sum_assignment(table, maximize=True)
        pairs += [
            Pair(left_read[row], left_true[column])
            for row, column in zip(rows, columns, strict=True)
            if table[row][column] >= LEAST_SIMILAR
        ]
    return sorted(pairs, key=lambda pair: pair.true)


def _pair_equal(read: Sequence[str], true: Sequence[str]) -> list[Pair]:
    places: dict[str, list[int]] = {}
    for place in reversed(range(len(read))):
        places.setdefault(read[place], []).append(place)
    return [Pair(places[text].pop(), place) for place, text in enumerate(true) if places.get(text)]
