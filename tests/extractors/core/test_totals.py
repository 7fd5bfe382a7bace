"""document_totals.py, totals.py: the totals of one document, and the sum of totals."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from extractors.core import (
    REJECT_REASONS,
    Accepted,
    Attempt,
    BilledPage,
    CallRequest,
    Copied,
    Failed,
    Found,
    LadderStep,
    Planned,
    PlannedPage,
    Problem,
    Reply,
    Unfinished,
)
from extractors.core.document_totals import totals_of
from extractors.core.money import Costs, Usage
from extractors.core.tiles import Size
from extractors.core.totals import RunTotals, sum_totals

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = LadderStep(1601, Size(500, 400), 1601)
COSTS = Costs(Decimal(1), Decimal(2), Decimal(3))
counts = st.builds(RunTotals, *[st.integers(0, 1000)] * 4)


class Doc(BaseModel):
    """An empty document."""


def attempt(outcome="accepted", billed="yes", cost="0.5", reserved="0.9", usage=None):
    """An attempt that has ended."""
    return Attempt(
        request=CallRequest("a", "key", "asked", 0, (STEP,), 100, 2000, 300, 2048),
        started_at=NOW,
        seconds=1.0,
        outcome=outcome,
        billed=billed,
        reply=Reply(200, "", usage=usage) if usage else None,
        cost_usd=None if cost is None else Decimal(cost),
        reserved_usd=None if reserved is None else Decimal(reserved),
    )


def plan():
    """A document of one page."""
    return Planned("a", (PlannedPage(BilledPage(Found("a")), "send", "fits", (STEP,), COSTS),))


def accept(*attempts):
    """A document whose last attempt was published."""
    return Accepted(plan(), attempts, "key", NOW, Doc(), Reply(200, ""), STEP, encoded=False, sha256="5ha")


def fail(*attempts, kind="off_schema"):
    """A document without an answer, or one rejected before a request was sent."""
    stage = "validate" if attempts or kind not in REJECT_REASONS else "bill"
    return Failed(plan(), attempts, "key", NOW, Problem(kind, stage, "why"))


def copy(*, bad=False, cost="0.5"):
    """A document with the content of an earlier one."""
    cost_usd = None if cost is None else Decimal(cost)
    row = {"cost_usd": cost_usd, "_cost_usd": cost_usd, "stage": "validate", "kind": "refused", "final": True}
    row |= {"message": "total: no number"}
    return Copied(plan(), (), "key", NOW, row, failed=bad)


def leave(*attempts):
    """A document that the run did not start."""
    return Unfinished(plan(), attempts)


def dollars(end):
    """The cost, the wasted and the unknown dollars."""
    totals = totals_of(end)
    return totals.cost_usd, totals.wasted_usd, totals.unknown_usd


def outcomes(end):
    """The counts of rejected, accepted, failed and remaining documents."""
    totals = totals_of(end)
    return totals.rejected, totals.accepted, totals.failed, totals.remaining


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (accept(attempt()), (0, 1, 0, 0)),
        (fail(attempt("off_schema")), (0, 0, 1, 0)),
        (fail(attempt("refused"), kind="refused"), (0, 0, 1, 0)),
        (fail(kind="unreadable"), (1, 0, 0, 0)),
        (leave(), (0, 0, 0, 1)),
    ],
)
def test_document_is_counted_under_one_outcome(end, expected):
    assert outcomes(end) == expected


@pytest.mark.parametrize("bad", [False, True])
def test_copy_is_counted_as_a_duplicate_only(bad):
    """It is done, and bad if its source is; it has no call, estimate or cost, and saves the cost of its source."""
    totals = totals_of(copy(bad=bad))
    assert outcomes(copy(bad=bad)) == (0, 0, 0, 0)
    assert (totals.duplicates, totals.done, totals.bad) == (1, 1, int(bad))
    assert (totals.calls, totals.cost_usd, totals.estimated, totals.saved_usd) == (0, 0, Costs(), Decimal("0.5"))


def test_saved_cost_of_copies_is_summed_or_unknown():
    """It is unknown if the cost of a source is."""
    assert (totals_of(copy()) + totals_of(copy(bad=True))).saved_usd == Decimal(1)
    assert (totals_of(copy()) + totals_of(copy(cost=None))).saved_usd is None


def test_documents_without_an_answer_are_counted_by_kind():
    """They are the rows of the table of failures, including copies of failed documents."""
    ends = [
        fail(kind="unreadable"),
        fail(kind="unreadable"),
        copy(bad=True),
        copy(),
        accept(attempt()),
        leave(),
    ]
    totals = sum_totals([totals_of(end) for end in ends])
    assert totals == sum((totals_of(end) for end in ends), start=RunTotals())
    assert sum(totals.kinds.values()) == totals.bad == 3
    assert {kind: count for (_, kind, _), count in totals.kinds.items()} == {"unreadable": 2, "refused": 1}


@pytest.mark.parametrize("kind", sorted(REJECT_REASONS))
def test_document_with_a_reject_reason_is_rejected(kind):
    """An image that was not sent is not a failed call."""
    assert outcomes(fail(kind=kind)) == (1, 0, 0, 0)


def test_document_with_an_empty_answer_is_failed():
    """The image was sent and billed; an empty file has the same kind, but is rejected."""
    end = fail(attempt("empty"), kind="empty")
    assert outcomes(end) == (0, 0, 1, 0)
    assert totals_of(end).estimated == COSTS


def test_published_answer_is_not_wasted():
    assert dollars(accept(attempt())) == (Decimal("0.5"), 0, 0)


def test_billed_attempts_before_the_published_one_are_wasted():
    end = accept(attempt("off_schema", cost="0.2"), attempt("truncated", cost="0.3"), attempt(cost="0.5"))
    assert dollars(end) == (Decimal("1.0"), Decimal("0.5"), 0)


def test_replaced_accepted_answer_is_wasted():
    """Both answers may be of the same rung of the first page."""
    lower, higher = (attempt(cost=cost, usage=Usage(prompt=10)) for cost in ("0.2", "0.5"))
    assert dollars(replace(accept(lower, higher), reply=lower.reply))[1] == Decimal("0.5")
    assert dollars(replace(accept(lower, higher), reply=higher.reply))[1] == Decimal("0.2")


def test_only_attempt_is_wasted_where_an_earlier_run_paid_for_the_published_answer():
    """The published answer is of the first rung, the attempt of this run of the second."""
    climbed = attempt(cost="0.5", usage=Usage(prompt=10))
    climbed = replace(climbed, request=replace(climbed.request, steps=(replace(STEP, rung=STEP.rung + 1),)))
    assert dollars(accept(climbed))[1] == Decimal("0.5")


@pytest.mark.parametrize("end", [fail, leave])
def test_billed_attempts_of_a_document_without_a_result_are_wasted(end):
    assert dollars(end(attempt("off_schema", cost="0.2"), attempt("off_schema", cost="0.3"))) == (
        Decimal("0.5"),
        Decimal("0.5"),
        0,
    )


def test_unbilled_attempt_costs_nothing():
    """A rate-limited call is not billed."""
    assert dollars(accept(attempt("rate_limited", billed="no", cost=None), attempt())) == (Decimal("0.5"), 0, 0)


def test_unknown_cost_of_a_lost_call_is_its_reservation():
    """The real cost is between cost and cost + unknown."""
    end = accept(attempt("timeout", billed="unknown", cost=None, reserved="0.9"), attempt())
    assert dollars(end) == (Decimal("0.5"), 0, Decimal("0.9"))


def test_reservation_of_a_settled_attempt_is_not_unknown():
    assert totals_of(accept(attempt(reserved="0.9"))).unknown_usd == 0


def test_unknown_price_makes_the_cost_unknown():
    """The wasted dollars of an accepted document are still 0."""
    assert dollars(accept(attempt(cost=None))) == (None, 0, 0)


def test_unknown_price_makes_the_wasted_dollars_unknown():
    assert dollars(fail(attempt("off_schema", cost=None))) == (None, None, 0)


def test_missing_reservation_makes_the_unknown_dollars_none():
    """A lost attempt has none if its price is unknown."""
    assert dollars(fail(attempt("timeout", billed="unknown", cost=None, reserved=None))) == (0, 0, None)


def test_tokens_are_summed_over_all_attempts():
    """Wasted attempts are included; an attempt without usage adds nothing."""
    end = accept(
        attempt("off_schema", usage=Usage(1700, 30, 20, 10)),
        attempt("timeout", billed="unknown"),
        attempt(usage=Usage(1800, 40, 0, 5)),
    )
    totals = totals_of(end)
    assert (totals.prompt_tokens, totals.completion_tokens) == (3500, 70)
    assert (totals.cached_tokens, totals.reasoning_tokens, totals.calls) == (20, 15, 3)


def test_residual_is_the_servers_count_minus_the_estimate():
    """The estimate of each attempt is 1,601 image tokens and 100 text tokens."""
    end = accept(attempt("off_schema", usage=Usage(prompt=1711)), attempt(usage=Usage(prompt=1698)))
    assert totals_of(end).residual_tokens == 10 - 3


def test_unsent_document_adds_no_estimate():
    """Rejected and remaining documents are not part of the run's estimate."""
    assert totals_of(fail(kind="unreadable")).estimated == Costs()
    assert totals_of(leave()).estimated == Costs()


@pytest.mark.parametrize("end", [accept(attempt()), fail(attempt("off_schema"))])
def test_sent_document_adds_its_estimate(end):
    assert totals_of(end).estimated == COSTS


def test_totals_are_added_by_field():
    first = totals_of(accept(attempt("off_schema", cost="0.2", usage=Usage(1700, 30)), attempt(usage=Usage(1701, 40))))
    second = totals_of(fail(attempt("timeout", billed="unknown", cost=None)))
    both = first + second
    assert (both.accepted, both.failed, both.calls, both.done) == (1, 1, 3, 2)
    assert (both.prompt_tokens, both.completion_tokens) == (3401, 70)
    assert (both.cost_usd, both.wasted_usd, both.unknown_usd) == (Decimal("0.7"), Decimal("0.2"), Decimal("0.9"))
    assert both.estimated == COSTS + COSTS


@pytest.mark.parametrize("name", ["cost_usd", "wasted_usd", "unknown_usd"])
def test_sum_with_an_unknown_amount_is_unknown(name):
    """The unknown amount may be on either side."""
    unknown = RunTotals(**{name: None})
    assert getattr(unknown + RunTotals(), name) is None
    assert getattr(RunTotals() + unknown, name) is None


def test_empty_totals_are_the_zero_of_the_sum():
    one = totals_of(accept(attempt(usage=Usage(1700, 30, 20, 10))))
    assert one + RunTotals() == RunTotals() + one == one


@given(one=counts, two=counts, three=counts)
def test_sum_does_not_depend_on_the_order(one, two, three):
    """Chunks end in any order."""
    assert (one + two) + three == three + (two + one)


def test_sum_includes_every_field():
    ones = RunTotals(*[COSTS if field.name == "estimated" else 1 for field in fields(RunTotals)])
    twos = [COSTS + COSTS if field.name == "estimated" else 2 for field in fields(RunTotals)]
    assert ones + ones == RunTotals(*twos)


ENDS = st.sampled_from(
    [
        accept(attempt()),
        accept(attempt("off_schema", cost=None), attempt(cost="0.25", usage=Usage(prompt=7, completion=3))),
        accept(attempt("timeout", billed="unknown", cost=None, reserved=None), attempt()),
        fail(attempt("off_schema")),
        fail(kind="unreadable"),
        copy(),
        copy(bad=True, cost=None),
        leave(attempt("truncated")),
    ]
)


@given(st.lists(ENDS, max_size=12))
def test_sum_of_many_totals_is_the_sum_of_one_after_the_other(ends):
    one_by_one = RunTotals()
    for end in ends:
        one_by_one += totals_of(end)
    summed = sum_totals([totals_of(end) for end in ends])
    assert summed == one_by_one
    assert (summed.reasons, summed.first_failures) == (one_by_one.reasons, one_by_one.first_failures)
