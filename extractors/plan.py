"""plan: a billed image in, the choice made for it out: send, shrink, resize or reject, and the ladder to climb.

A rung is a budget of image tokens a page; the picture sent at a rung is the largest whose bill fits in it. A ladder
starts at the cheapest rung whose picture stays above the policy's floor and ends at the first rung that pays for the
whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from extractors.model import Billed, PlannedPage, Step
from extractors.tiles import Rule, Size, fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.money import Costs


class Floor(NamedTuple):
    """The least that a resized picture may have, in pixels of its longest and its shortest side."""

    longest: int
    shortest: int


# Measured on till receipts: at 1,119 px on the longest side local OCR reads as well as at native size, at 559 it does
# not. None: never resize.
FLOORS: dict[str, Floor | None] = {"balanced": Floor(1000, 350), "thrifty": Floor(700, 250), "faithful": None}


@dataclass(frozen=True, slots=True)
class Plan:
    """What every choice of a run follows: its policy's floor, the rule in force, and the price of a step."""

    policy: str
    rule: Rule
    price: Callable[[Step], Costs]

    def page(self, billed: Billed) -> PlannedPage:
        """The choice for one page, with its reason."""
        if billed.flaw or billed.header is None:
            return PlannedPage(billed, "reject", billed.flaw.kind if billed.flaw else "unreadable")
        size = billed.header.size
        ladder, floored = self._ladder(size)
        first = ladder[0]
        costs = self.price(first)
        if first.tokens < self.rule.tokens(size):
            return PlannedPage(billed, "resize", "cheaper", ladder, costs)
        if first.size != size:
            return PlannedPage(billed, "shrink", "native", ladder, costs)
        return PlannedPage(billed, "send", "floor" if floored else "fits", ladder, costs)

    def _ladder(self, size: Size) -> tuple[tuple[Step, ...], bool]:
        """The steps from the first to the one that pays for the whole image, and whether the floor forbade a cheaper."""
        whole = Step(self.rule.tokens(size), self.rule.native(size), self.rule.tokens(size))
        floor = FLOORS[self.policy]
        if floor is None:
            return (whole,), False
        steps: list[Step] = []
        floored = False
        for rung in self.rule.rungs(size):
            if rung >= whole.tokens:
                return (*steps, Step(rung, whole.size, whole.tokens)), floored
            picture = fit(self.rule, size, rung)
            if picture is None or below(picture, size, floor):
                floored = True
            elif not steps or self.rule.tokens(picture) > steps[-1].tokens:  # a rung that buys nothing is no rung
                steps.append(Step(rung, picture, self.rule.tokens(picture)))
        return (*steps, whole), floored


def below(picture: Size, size: Size, floor: Floor) -> bool:
    """Whether a picture resized from `size` is under the floor; one that is smaller than the floor keeps its size."""
    return picture.longest < min(floor.longest, size.longest) or picture.shortest < min(floor.shortest, size.shortest)
