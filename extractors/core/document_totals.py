"""Computes the totals of one document, and of attempts at documents."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, TypedDict

from extractors.core import Accepted, Copied, Failed, Unfinished
from extractors.core.call_counts import REFUSALS
from extractors.core.money import Costs, add_known, sum_known
from extractors.core.totals import (
    NO_CASCADE,
    NO_WITNESS,
    CascadeTotals,
    FailedDocument,
    FailureKind,
    FailureReasons,
    FirstFailures,
    RunTotals,
    WitnessTotals,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core import Attempt


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
        return NO_CASCADE
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
    return WitnessTotals(1, seen.unseen, seen.missing_rows) if seen else NO_WITNESS


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
            total["cost_usd"] = add_known(total["cost_usd"], each.cost_usd)
            if each.outcome != "accepted":
                total["wasted_usd"] = add_known(total["wasted_usd"], each.cost_usd)
        elif each.billed == "unknown":
            total["unknown_usd"] = add_known(total["unknown_usd"], each.reserved_usd)
    return total
