"""RunTotals: the documents, tokens and dollars of a run, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import reduce
from operator import add, attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from extractors.core.money import Costs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")
FailureKind = tuple[str, str, bool]  # stage, kind, and whether the failure is final
NAMED_FAILURES = 5
REASON_LENGTH = 160  # characters of a failure's message that are kept for the summary


class FailureReasons(dict[FailureKind, str]):
    """The message of one document per kind of failure; of two runs, the first one's."""

    def __add__(self, other: FailureReasons) -> FailureReasons:
        """Both together."""
        return FailureReasons({**other, **self})


class FailedDocument(NamedTuple):
    """A document without an answer, and why."""

    document: str
    stage: str
    kind: str
    message: str


class FirstFailures(tuple[FailedDocument, ...]):
    """The first five documents that failed, of as many kinds as there are."""

    __slots__ = ()

    def __add__(self, other: tuple[FailedDocument, ...]) -> FirstFailures:  # type: ignore[override]  # a tuple's own + would exceed the limit
        """The first of each kind, then the second of each, up to five."""
        if not other or (len(self) >= NAMED_FAILURES and {each[1:3] for each in other} <= {each[1:3] for each in self}):
            return self
        seen: Counter[tuple[str, ...]] = Counter()
        ranked = []
        for each in (*self, *other):
            ranked.append((seen[each[1:3]], each))
            seen[each[1:3]] += 1
        ranked.sort(key=lambda pair: pair[0])
        return FirstFailures(each for _, each in ranked[:NAMED_FAILURES])


def reason_of(message: str) -> str:
    """The first words of a failure's message, on one line, without control characters."""
    line = replace_controls(" ".join(message.split()))
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 1]}…"


def replace_controls(text: str) -> str:
    """The text with `?` for each character that a terminal would not print but obey."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


@dataclass(frozen=True, slots=True)
class CascadeTotals:
    """Where documents stopped, and what their rungs cost, by the bill rule.

    `stopped_at_rung` counts accepted documents by the rung of their answer, `climbed` the documents with a billed call
    above their first rung, and `climb_usd` is the cost of those calls. Image tokens count one call a rung: `sent_tokens` on
    all rungs, `climb_tokens` above the first, and `faithful_tokens` of the same documents with every pixel.
    """

    stopped_at_rung: Counter[int] = field(default_factory=Counter)
    climbed: int = 0
    climb_usd: Decimal | None = Decimal(0)
    sent_tokens: int = 0
    climb_tokens: int = 0
    faithful_tokens: int = 0

    def __add__(self, other: CascadeTotals) -> CascadeTotals:
        """Both together."""
        return _sum_fields(CascadeTotals, (self, other))

    @property
    def saved_tokens(self) -> int:
        """The image tokens less than with `--policy faithful`; below 0 where climbs cost more than they saved."""
        return self.faithful_tokens - self.sent_tokens


@dataclass(frozen=True, slots=True)
class WitnessTotals:
    """What the witness has seen: documents that it looked at, and of them values that stand on no page, and missing rows."""

    documents: int = 0
    unseen: int = 0
    missing_rows: int = 0

    def __add__(self, other: WitnessTotals) -> WitnessTotals:
        """Both together."""
        return _sum_fields(WitnessTotals, (self, other))


# The defaults of every document's totals, made once.
NO_CASCADE, NO_WITNESS = CascadeTotals(), WitnessTotals()
_NO_COSTS, _NO_FAILURES = Costs(), FirstFailures()
_NO_KINDS: Counter[FailureKind] = Counter()
_NO_REASONS = FailureReasons()


@dataclass(slots=True)  # not frozen, though nothing changes one: each frozen field costs a call more when one is made
class RunTotals:
    """The sums over some documents, which add up; an amount is None when a price is unknown.

    `kinds` counts the documents without an answer by stage, kind, and whether the failure is final; `reasons` holds
    the message of one of each, `first_failures` some by name. `refusals` counts the calls that the server put off,
    `scored` the accepted documents with a confidence, `compared` those whose picture could be compared with the labelled
    ones, and `unlike` those of them that differ.
    """

    rejected: int = 0
    accepted: int = 0
    failed: int = 0
    remaining: int = 0
    scored: int = 0
    compared: int = 0
    unlike: int = 0
    copied: int = 0
    copied_failed: int = 0
    calls: int = 0
    refusals: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    residual_tokens: int = 0
    estimated: Costs = _NO_COSTS
    cost_usd: Decimal | None = Decimal(0)
    wasted_usd: Decimal | None = Decimal(0)
    unknown_usd: Decimal | None = Decimal(0)
    saved_usd: Decimal | None = Decimal(0)
    cascade: CascadeTotals = NO_CASCADE
    witness: WitnessTotals = NO_WITNESS
    kinds: Counter[FailureKind] = field(default_factory=lambda: _NO_KINDS)
    reasons: FailureReasons = field(default_factory=lambda: _NO_REASONS, compare=False)
    first_failures: FirstFailures = field(default=_NO_FAILURES, compare=False)

    def __add__(self, other: RunTotals) -> RunTotals:
        """Both together."""
        return _sum_fields(RunTotals, (self, other))

    @property
    def done(self) -> int:
        """Documents that ended."""
        return self.accepted + self.copied + self.bad

    @property
    def duplicates(self) -> int:
        """Documents that were copied from another, which was accepted or failed."""
        return self.copied + self.copied_failed

    @property
    def bad(self) -> int:
        """Documents with a row in failures."""
        return self.rejected + self.failed + self.copied_failed


# The classes whose fields are summed one by one, and what reads all fields of one.
_FIELDS: dict[type, attrgetter[tuple[Any, ...]]] = {
    each: attrgetter(*(part.name for part in fields(each))) for each in (RunTotals, CascadeTotals, WitnessTotals, Costs)
}


def sum_totals(parts: Sequence[RunTotals]) -> RunTotals:
    """The sum of these totals: of many at once in a seventh of the time of adding one to another."""
    return _sum_fields(RunTotals, parts) if parts else RunTotals()


def since(before: RunTotals, now: RunTotals) -> RunTotals:
    """The accepted and failed documents with their kinds, and the dollars if known, that came between two totals."""
    cost = None if before.cost_usd is None or now.cost_usd is None else now.cost_usd - before.cost_usd
    return RunTotals(
        accepted=now.accepted - before.accepted,
        failed=now.failed - before.failed,
        cost_usd=cost,
        kinds=now.kinds - before.kinds,
    )


def _sum_fields(kind: type[T], parts: Sequence[T]) -> T:
    return kind(*map(_sum_values, zip(*map(_FIELDS[kind], parts), strict=True)))


def _sum_values(values: Sequence[Any]) -> Any:  # Any: one field of several totals, of which there are seven types
    """The sum of the values of one field; None where one is unknown."""
    first = values[0]
    if isinstance(first, int):
        return sum(values)
    if first is None or isinstance(first, Decimal):
        return None if None in values else sum(values)
    if type(first) in _FIELDS:
        return _sum_fields(type(first), values)
    if isinstance(first, Counter):
        return _sum_counts(values)
    return reduce(add, filter(None, values[1:]), first)  # most are empty


def _sum_counts(counters: Iterable[Counter[T]]) -> Counter[T]:
    total: Counter[T] = Counter()
    for counter in filter(None, counters):
        for name, count in counter.items():
            total[name] += count
    return total
