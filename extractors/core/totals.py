"""RunTotals: the documents, tokens and dollars of a run, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from extractors.core import Accepted, Copied, Failed, Unfinished
from extractors.core.call_counts import REFUSALS
from extractors.core.money import Costs, sum_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core import Attempt


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
        return CascadeTotals(*map(_sum, _CASCADE_PARTS(self), _CASCADE_PARTS(other)))

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
        return WitnessTotals(
            self.documents + other.documents, self.unseen + other.unseen, self.missing_rows + other.missing_rows
        )


# The defaults of every document's totals, made once.
_NO_COSTS, _NO_CASCADE, _NO_WITNESS, _NO_FAILURES = Costs(), CascadeTotals(), WitnessTotals(), FirstFailures()


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
    cascade: CascadeTotals = _NO_CASCADE
    witness: WitnessTotals = _NO_WITNESS
    kinds: Counter[FailureKind] = field(default_factory=Counter)
    reasons: FailureReasons = field(default_factory=FailureReasons, compare=False)
    first_failures: FirstFailures = field(default=_NO_FAILURES, compare=False)

    def __add__(self, other: RunTotals) -> RunTotals:
        """Both together."""
        return RunTotals(*map(_sum, _PARTS(self), _PARTS(other)))

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


_CASCADE_PARTS = attrgetter(*(each.name for each in fields(CascadeTotals)))
_PARTS = attrgetter(*(each.name for each in fields(RunTotals)))


def since(before: RunTotals, now: RunTotals) -> RunTotals:
    """The accepted and failed documents with their kinds, and the dollars if known, that came between two totals."""
    cost = None if before.cost_usd is None or now.cost_usd is None else now.cost_usd - before.cost_usd
    return RunTotals(
        accepted=now.accepted - before.accepted,
        failed=now.failed - before.failed,
        cost_usd=cost,
        kinds=now.kinds - before.kinds,
    )


def totals_of(end: Accepted | Copied | Failed | Unfinished) -> RunTotals:
    """The totals of one document. Estimates are of what was sent, so a copy has none."""
    if isinstance(end, Copied):
        return _totals_of_copy(end)
    usage = _sum_usage(end.attempts)
    usage["wasted_usd"] = sum_known([usage["wasted_usd"], *(each.cost_usd for each in _list_superseded(end))])
    cascade = _cascade_of(end)
    if isinstance(end, Unfinished):
        return RunTotals(**usage, remaining=1, cascade=cascade)
    if isinstance(end, Failed):
        return _totals_of_failure(end, usage, cascade)
    evidence = end.evidence
    like = evidence.like_labels if evidence else None
    return RunTotals(
        **usage,
        accepted=1,
        scored=int(evidence is not None and evidence.confidence is not None),
        compared=int(like is not None),
        unlike=int(like is False),
        estimated=end.planned.costs,
        cascade=cascade,
        witness=_witness_of(end),
    )


def _totals_of_copy(end: Copied) -> RunTotals:
    kind = (str(end.row["stage"]), str(end.row["kind"]), bool(end.row["final"])) if end.failed else None
    return RunTotals(
        copied=int(not end.failed),
        copied_failed=int(end.failed),
        saved_usd=end.saved_usd,
        kinds=Counter([kind] if kind else []),
        reasons=FailureReasons({kind: reason_of(str(end.row["message"]))} if kind else {}),
        first_failures=_name_failure(end.planned.document, kind, str(end.row["message"])) if kind else FirstFailures(),
    )


def _totals_of_failure(end: Failed, usage: _UsageTotals, cascade: CascadeTotals) -> RunTotals:
    problem = end.problem
    failure = (problem.stage, problem.kind, problem.final)
    return RunTotals(
        **usage,
        rejected=int(end.rejected),
        failed=int(not end.rejected),
        estimated=Costs() if end.rejected else end.planned.costs,
        cascade=cascade,
        kinds=Counter([failure]),
        reasons=FailureReasons({failure: reason_of(problem.message)}),
        first_failures=_name_failure(end.planned.document, failure, problem.message),
    )


def _list_superseded(end: Accepted | Failed | Unfinished) -> list[Attempt]:
    """The billed attempts whose answer was accepted and is not the one that is published."""
    if not isinstance(end, Accepted):
        return []
    accepted = [each for each in end.attempts if each.outcome == "accepted"]
    same_rung = [each for each in reversed(accepted) if each.request.steps[0].rung == end.step.rung]
    same_reply = [each for each in same_rung if each.reply is end.reply]  # rungs of a later page may share the first's
    published = next(iter((*same_reply, *same_rung)), None)
    return [each for each in accepted if each is not published and each.billed == "yes"]


def _cascade_of(end: Accepted | Failed | Unfinished) -> CascadeTotals:
    if isinstance(end, Unfinished):
        return CascadeTotals()
    stopped = Counter({end.step.rung: 1}) if isinstance(end, Accepted) else Counter[int]()
    billed = [each for each in end.attempts if each.billed == "yes"]
    if not billed:
        return CascadeTotals(stopped)
    first = end.planned.steps(0)
    climbs = [each for each in billed if each.request.steps != first]
    return CascadeTotals(
        stopped,
        climbed=int(bool(climbs)),
        climb_usd=sum_known(each.cost_usd for each in climbs),
        sent_tokens=_count_rungs(billed),
        climb_tokens=_count_rungs(climbs),
        faithful_tokens=end.planned.faithful_tokens,
    )


def _witness_of(end: Accepted) -> WitnessTotals:
    seen = end.sightings
    return WitnessTotals(1, seen.unseen, seen.missing_rows) if seen else WitnessTotals()


def _count_rungs(attempts: Sequence[Attempt]) -> int:
    """The image tokens of these attempts, those of each rung once."""
    return sum({each.request.steps: each.request.image_tokens for each in attempts}.values())


def _name_failure(document: str, failure: FailureKind, message: str) -> FirstFailures:
    return FirstFailures([FailedDocument(document, *failure[:2], reason_of(message))])


class _UsageTotals(TypedDict):
    """The fields of RunTotals that the attempts of a document determine."""

    calls: int
    refusals: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    residual_tokens: int
    cost_usd: Decimal | None
    wasted_usd: Decimal | None
    unknown_usd: Decimal | None


def usage_of(attempts: Sequence[Attempt]) -> RunTotals:
    """The totals of these attempts; billed attempts whose answer was not accepted are wasted.

    So are, for a document that ended, accepted ones whose answer is not the published one: `totals_of` adds them.
    """
    return RunTotals(**_sum_usage(attempts))


def _sum_usage(attempts: Sequence[Attempt]) -> _UsageTotals:
    total = _UsageTotals(
        calls=len(attempts),
        refusals=0,
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        reasoning_tokens=0,
        residual_tokens=0,
        cost_usd=Decimal(0),
        wasted_usd=Decimal(0),
        unknown_usd=Decimal(0),
    )
    for each in attempts:
        total["refusals"] += each.outcome in REFUSALS
        if usage := each.usage:
            total["prompt_tokens"] += usage.prompt
            total["cached_tokens"] += usage.cached
            total["completion_tokens"] += usage.completion
            total["reasoning_tokens"] += usage.reasoning
            total["residual_tokens"] += each.residual or 0
        if each.billed == "yes":
            total["cost_usd"] = _sum(total["cost_usd"], each.cost_usd)
            if each.outcome != "accepted":
                total["wasted_usd"] = _sum(total["wasted_usd"], each.cost_usd)
        elif each.billed == "unknown":
            total["unknown_usd"] = _sum(total["unknown_usd"], each.reserved_usd)
    return total


def _sum(mine: Any, theirs: Any) -> Any:  # Any: two fields of one type, of which there are seven
    """The sum of two fields; None where one is unknown. Most fields of a document's totals are 0 or empty."""
    if mine is None or theirs is None:
        return None
    return mine + theirs if theirs else mine
