"""What became of documents, added up: the counts, tokens and dollars of a run. A leaf."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal

from extractors.model import Accepted, Failed, Left
from extractors.money import Costs, total


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of some documents, in documents, tokens and dollars; tallies add up. None: a price is unknown."""

    rejected: int = 0
    accepted: int = 0
    failed: int = 0
    remaining: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    residual_tokens: int = 0
    estimated: Costs = field(default_factory=Costs)
    cost_usd: Decimal | None = Decimal(0)
    wasted_usd: Decimal | None = Decimal(0)
    unknown_usd: Decimal | None = Decimal(0)

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        parts = {each.name: _sum(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        return Tally(**parts)  # type: ignore[arg-type]  # each part is the sum of two of its own type

    @property
    def done(self) -> int:
        """Documents that came to an end."""
        return self.rejected + self.accepted + self.failed


def tally(end: Accepted | Failed | Left) -> Tally:
    """What one document adds to its run's tally."""
    billed = [each for each in end.attempts if each.billed == "yes"]
    published = end.published if isinstance(end, Accepted) else None
    rejected = isinstance(end, Failed) and end.rejected
    return Tally(
        rejected=int(rejected),
        accepted=int(isinstance(end, Accepted)),
        failed=int(isinstance(end, Failed) and not rejected),
        remaining=int(isinstance(end, Left)),
        calls=len(end.attempts),
        prompt_tokens=end.tokens("prompt"),
        cached_tokens=end.tokens("cached"),
        completion_tokens=end.tokens("completion"),
        reasoning_tokens=end.tokens("reasoning"),
        residual_tokens=sum(each.residual or 0 for each in end.attempts),
        estimated=Costs() if rejected or isinstance(end, Left) else end.planned.costs,
        cost_usd=total(each.cost_usd for each in billed),
        wasted_usd=total(each.cost_usd for each in billed if each is not published),
        unknown_usd=total(each.reserved_usd for each in end.attempts if each.billed == "unknown"),
    )


def _sum(mine: object, theirs: object) -> object:
    return None if mine is None or theirs is None else mine + theirs  # type: ignore[operator]  # two of one type
