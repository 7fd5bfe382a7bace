"""Choose: decides for a billed image whether it is sent, shrunk, resized, passed as a URL or rejected, and its ladder.

A rung is a budget of image tokens a page; the picture sent at a rung is the largest whose bill fits in it. A ladder
starts at the cheapest rung whose picture stays above the policy's floor and ends at the first rung that pays for the
whole image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from extractors.core import UNSEEN, BilledPage, LadderStep, PlannedPage
from extractors.core.tiles import Rule, Size, fit_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core.money import Costs
    from extractors.core.tuning import Ladder


class Floor(NamedTuple):
    """The minimum size of a resized picture, in pixels of its longest and its shortest side."""

    longest: int
    shortest: int


# Measured on till receipts: at 1,119 px on the longest side local OCR reads as well as at native size, at 559 it does
# not. None: never resize.
FLOORS: dict[str, Floor | None] = {"balanced": Floor(1000, 350), "thrifty": Floor(700, 250), "faithful": None}


class Priced(Protocol):
    """Prices one step; the first page of a document includes the costs of the text and of the answer."""

    def __call__(self, step: LadderStep, *, first: bool) -> Costs:
        """The costs of this step."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The policy, the bill rule and the prices by which a run chooses.

    `send_urls`: an image at an http(s) URL is passed on; one that needs a signature only where it would be sent as it is.
    `ladder` is that of a stored tuning, which replaces the policy's.
    """

    policy: str
    rule: Rule
    price: Priced
    send_urls: bool = False
    video_tokens: int | None = None
    ladder: Ladder | None = None

    def document(self, pages: Sequence[BilledPage]) -> tuple[PlannedPage, ...]:
        """Chooses for the pages of a document."""
        return tuple(self.page(billed, first=not number) for number, billed in enumerate(pages))

    def page(self, billed: BilledPage, *, first: bool = True) -> PlannedPage:
        """Chooses for one page, which may be the `first` of its document."""
        if billed.found.video and not billed.problem:
            step = LadderStep(0, UNSEEN, self.video_tokens or 0)
            return PlannedPage(billed, "url", "passed_on", (step,), self.price(step, first=first))
        if billed.problem or billed.header is None:
            return PlannedPage(billed, "reject", billed.problem.kind if billed.problem else "unreadable")
        chosen = self._choose_size(billed, billed.header.size, first=first)
        if not (self.send_urls and _can_pass_url(chosen)):
            return chosen
        size, tokens = billed.header.size, self.rule.tokens(billed.header.size)
        whole = LadderStep(tokens, size, tokens)
        return PlannedPage(billed, "url", "passed_on", (whole,), self.price(whole, first=first))

    def _choose_size(self, billed: BilledPage, size: Size, *, first: bool) -> PlannedPage:
        if self.ladder is None:
            ladder, floored = ladder_of(self.rule, self.policy, size)
            rescue = False
        else:
            (ladder, rescue), floored = tuned_ladder_of(self.rule, self.ladder, size), False
        step = ladder[0]
        costs = self.price(step, first=first)
        if step.tokens < self.rule.tokens(size):
            return PlannedPage(billed, "resize", "cheaper", ladder, costs, rescue)
        if step.size != size:
            return PlannedPage(billed, "shrink", "native", ladder, costs)
        return PlannedPage(billed, "send", "floor" if floored else "fits", ladder, costs)


@lru_cache(maxsize=4096)  # what one camera took, or one scanner, is all of a few sizes
def ladder_of(rule: Rule, policy: str, size: Size) -> tuple[tuple[LadderStep, ...], bool]:
    """The steps from the cheapest to that of the whole image, and whether the floor ruled out a cheaper one."""
    whole = LadderStep(rule.tokens(size), rule.native(size), rule.tokens(size))
    floor = FLOORS[policy]
    if floor is None:
        return (whole,), False
    steps: list[LadderStep] = []
    floored = False
    for rung in rule.rungs(size):
        if rung >= whole.tokens:
            return (*steps, LadderStep(rung, whole.size, whole.tokens)), floored
        picture = fit_size(rule, size, rung)
        if picture is None or below(picture, size, floor):
            floored = True
        elif not steps or rule.tokens(picture) > steps[-1].tokens:  # a rung that adds no pixels is left out
            steps.append(LadderStep(rung, picture, rule.tokens(picture)))
    return (*steps, whole), floored


@lru_cache(maxsize=4096)  # as above
def tuned_ladder_of(rule: Rule, ladder: Ladder, size: Size) -> tuple[tuple[LadderStep, ...], bool]:
    """The steps of a stored ladder. The floors of the policies do not apply: the ladder was measured.

    Where it ends below the whole image, that is the last step, and the result is True: it is sent after a refused answer
    only, so that a document does not fail for pixels that were left out.
    """
    whole = LadderStep(rule.tokens(size), rule.native(size), rule.tokens(size))
    steps: list[LadderStep] = []
    for rung in ladder.limits(whole.tokens):
        if rung >= whole.tokens:
            return (*steps, LadderStep(rung, whole.size, whole.tokens)), False
        picture = fit_size(rule, size, rung)
        if picture is not None and (not steps or rule.tokens(picture) > steps[-1].tokens):
            steps.append(LadderStep(rung, picture, rule.tokens(picture)))
    return (*steps, whole), bool(steps)


def full_ladder(rule: Rule, size: Size) -> tuple[LadderStep, ...]:
    """One step for every rung of the rule, without the floors of the policies; the last one is the whole image.

    Rungs that pay for the same picture have equal sizes.
    """
    whole = LadderStep(rule.tokens(size), rule.native(size), rule.tokens(size))
    steps: list[LadderStep] = []
    for rung in reversed(rule.rungs(size)):
        picture = fit_size(rule, size, rung) if rung < whole.tokens else None
        above = steps[0] if steps else whole
        steps.insert(
            0, replace(above, rung=rung) if picture is None else LadderStep(rung, picture, rule.tokens(picture))
        )
    return tuple(steps)


def _can_pass_url(page: PlannedPage) -> bool:
    """Whether this image can be sent as a URL."""
    found, header = page.billed.found, page.billed.header
    if found.page is not None or header is None:
        return False
    if found.uri.startswith(("http://", "https://")) and found.address is None:
        return True
    whole = header.format in {"JPEG", "PNG", "WEBP"} and header.frames == 1 and header.orientation == 1
    return "://" in found.uri and page.action == "send" and whole


def below(picture: Size, size: Size, floor: Floor) -> bool:
    """Whether a picture resized from `size` is under the floor; one that is smaller than the floor keeps its size."""
    return picture.longest < min(floor.longest, size.longest) or picture.shortest < min(floor.shortest, size.shortest)
