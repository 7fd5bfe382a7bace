"""totals.py: what one document adds to its run, and how totals add up."""

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
from extractors.core.money import Costs, Usage
from extractors.core.tiles import Size
from extractors.core.totals import RunTotals, totals_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = LadderStep(1601, Size(500, 400), 1601)
COSTS = Costs(Decimal(1), Decimal(2), Decimal(3))
counts = st.builds(RunTotals, *[st.integers(0, 1000)] * 4)


class Doc(BaseModel):
    """Nothing."""


def attempt(outcome="accepted", billed="yes", cost="0.5", reserved="0.9", usage=None):
    """One attempt, as it ended."""
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
    """A document without an answer, or one that was rejected before it could have any."""
    stage = "validate" if attempts or kind not in REJECT_REASONS else "bill"
    return Failed(plan(), attempts, "key", NOW, Problem(kind, stage, "why"))


def copy(*, bad=False, cost="0.5"):
    """A document whose content was read before."""
    cost_usd = None if cost is None else Decimal(cost)
    row = {"cost_usd": cost_usd, "_cost_usd": cost_usd, "stage": "validate", "kind": "refused", "final": True}
    row |= {"message": "total: no number"}
    return Copied(plan(), (), "key", NOW, row, failed=bad)


def leave(*attempts):
    """A document that the run stopped before."""
    return Unfinished(plan(), attempts)


def dollars(end):
    """Cost, wasted and unknown."""
    added = totals_of(end)
    return added.cost_usd, added.wasted_usd, added.unknown_usd


def fates(end):
    """Rejected, accepted, failed, remaining."""
    added = totals_of(end)
    return added.rejected, added.accepted, added.failed, added.remaining


@pytest.mark.parametrize(
    ("end", "counted"),
    [
        (accept(attempt()), (0, 1, 0, 0)),
        (fail(attempt("off_schema")), (0, 0, 1, 0)),
        (fail(attempt("refused"), kind="refused"), (0, 0, 1, 0)),
        (fail(kind="unreadable"), (1, 0, 0, 0)),
        (leave(), (0, 0, 0, 1)),
    ],
)
def test_a_document_is_counted_once(end, counted):
    """Every document has exactly one fate."""
    assert fates(end) == counted


@pytest.mark.parametrize("bad", [False, True])
def test_a_copy_is_a_duplicate_and_nothing_else(bad):
    """It is done, and bad if its source is; it had no call, no estimate and no cost, and saved what its source cost."""
    added = totals_of(copy(bad=bad))
    assert fates(copy(bad=bad)) == (0, 0, 0, 0)
    assert (added.duplicates, added.done, added.bad) == (1, 1, int(bad))
    assert (added.calls, added.cost_usd, added.estimated, added.saved_usd) == (0, 0, Costs(), Decimal("0.5"))


def test_what_copies_saved_adds_up_and_may_be_unknown():
    """A source whose cost nobody knows leaves the saving unknown."""
    assert (totals_of(copy()) + totals_of(copy(bad=True))).saved_usd == Decimal(1)
    assert (totals_of(copy()) + totals_of(copy(cost=None))).saved_usd is None


def test_whoever_has_no_answer_is_counted_by_kind():
    """As many as have a row in failures, those of copies too; nobody else."""
    ends = [
        fail(kind="unreadable"),
        fail(kind="unreadable"),
        copy(bad=True),
        copy(),
        accept(attempt()),
        leave(),
    ]
    added = sum((totals_of(end) for end in ends), start=RunTotals())
    assert sum(added.kinds.values()) == added.bad == 3
    assert {kind: count for (_, kind, _), count in added.kinds.items()} == {"unreadable": 2, "refused": 1}


@pytest.mark.parametrize("kind", sorted(REJECT_REASONS))
def test_every_reject_reason_is_a_rejection(kind):
    """An image that could not be sent is not a call that failed."""
    assert fates(fail(kind=kind)) == (1, 0, 0, 0)


def test_an_empty_answer_is_no_rejection():
    """The image was sent and paid for, though an empty file goes by the same name."""
    end = fail(attempt("empty"), kind="empty")
    assert fates(end) == (0, 0, 1, 0)
    assert totals_of(end).estimated == COSTS


def test_an_answer_that_is_published_is_not_wasted():
    """What was paid for the row in results is well spent."""
    assert dollars(accept(attempt())) == (Decimal("0.5"), 0, 0)


def test_billed_attempts_before_the_published_one_are_wasted():
    """They cost, and their answers are not in results."""
    end = accept(attempt("off_schema", cost="0.2"), attempt("truncated", cost="0.3"), attempt(cost="0.5"))
    assert dollars(end) == (Decimal("1.0"), Decimal("0.5"), 0)


def test_accepted_answer_that_another_one_replaced_is_wasted():
    """Also where both were read on the same rung of the first page."""
    lower, higher = (attempt(cost=cost, usage=Usage(prompt=10)) for cost in ("0.2", "0.5"))
    assert dollars(replace(accept(lower, higher), reply=lower.reply))[1] == Decimal("0.5")
    assert dollars(replace(accept(lower, higher), reply=higher.reply))[1] == Decimal("0.2")


@pytest.mark.parametrize("end", [fail, leave])
def test_all_billed_attempts_of_a_document_without_a_row_are_wasted(end):
    """Nothing was published for them."""
    assert dollars(end(attempt("off_schema", cost="0.2"), attempt("off_schema", cost="0.3"))) == (
        Decimal("0.5"),
        Decimal("0.5"),
        0,
    )


def test_attempts_that_were_not_billed_cost_nothing():
    """A refusal for speed is free."""
    assert dollars(accept(attempt("rate_limited", billed="no", cost=None), attempt())) == (Decimal("0.5"), 0, 0)


def test_an_attempt_that_may_be_billed_is_unknown_by_its_reservation():
    """The bill lies in [cost, cost + unknown]: a lost call may have cost what was reserved for it."""
    end = accept(attempt("timeout", billed="unknown", cost=None, reserved="0.9"), attempt())
    assert dollars(end) == (Decimal("0.5"), 0, Decimal("0.9"))


def test_the_reservation_of_an_attempt_that_is_settled_is_not_unknown():
    """Once the server has counted, the reservation is history."""
    assert totals_of(accept(attempt(reserved="0.9"))).unknown_usd == 0


def test_an_unknown_price_makes_the_cost_unknown():
    """None, never 0; what is not wasted is still known to be none."""
    assert dollars(accept(attempt(cost=None))) == (None, 0, 0)


def test_an_unknown_price_makes_the_waste_unknown():
    """A wasted attempt without a price."""
    assert dollars(fail(attempt("off_schema", cost=None))) == (None, None, 0)


def test_an_unknown_reservation_makes_the_unknown_unknown():
    """A lost attempt without a price."""
    assert dollars(fail(attempt("timeout", billed="unknown", cost=None, reserved=None))) == (0, 0, None)


def test_tokens_are_summed_over_all_attempts():
    """The wasted ones too; an attempt without a count adds nothing."""
    end = accept(
        attempt("off_schema", usage=Usage(1700, 30, 20, 10)),
        attempt("timeout", billed="unknown"),
        attempt(usage=Usage(1800, 40, 0, 5)),
    )
    added = totals_of(end)
    assert (added.prompt_tokens, added.completion_tokens) == (3500, 70)
    assert (added.cached_tokens, added.reasoning_tokens, added.calls) == (20, 15, 3)


def test_residuals_are_what_the_server_counted_over_the_estimate():
    """1,601 for the picture and 100 for the text were expected of each."""
    end = accept(attempt("off_schema", usage=Usage(prompt=1711)), attempt(usage=Usage(prompt=1698)))
    assert totals_of(end).residual_tokens == 10 - 3


def test_a_document_that_was_not_sent_has_no_estimate():
    """Rejected and remaining documents are no part of what the run's documents were to cost."""
    assert totals_of(fail(kind="unreadable")).estimated == Costs()
    assert totals_of(leave()).estimated == Costs()


@pytest.mark.parametrize("end", [accept(attempt()), fail(attempt("off_schema"))])
def test_a_document_that_was_sent_has_its_estimate(end):
    """Whatever came of it."""
    assert totals_of(end).estimated == COSTS


def test_tallies_add_up():
    """Every number and every dollar of both."""
    one = totals_of(accept(attempt("off_schema", cost="0.2", usage=Usage(1700, 30)), attempt(usage=Usage(1701, 40))))
    two = totals_of(fail(attempt("timeout", billed="unknown", cost=None)))
    both = one + two
    assert (both.accepted, both.failed, both.calls, both.done) == (1, 1, 3, 2)
    assert (both.prompt_tokens, both.completion_tokens) == (3401, 70)
    assert (both.cost_usd, both.wasted_usd, both.unknown_usd) == (Decimal("0.7"), Decimal("0.2"), Decimal("0.9"))
    assert both.estimated == COSTS + COSTS


@pytest.mark.parametrize("name", ["cost_usd", "wasted_usd", "unknown_usd"])
def test_an_unknown_sum_stays_unknown(name):
    """One document without a price is enough, on either side."""
    unknown = RunTotals(**{name: None})
    assert getattr(unknown + RunTotals(), name) is None
    assert getattr(RunTotals() + unknown, name) is None


def test_nothing_adds_nothing():
    """The empty tally is the zero of the sum."""
    one = totals_of(accept(attempt(usage=Usage(1700, 30, 20, 10))))
    assert one + RunTotals() == RunTotals() + one == one


@given(one=counts, two=counts, three=counts)
def test_the_order_of_adding_does_not_matter(one, two, three):
    """Chunks end in any order."""
    assert (one + two) + three == three + (two + one)


def test_every_part_takes_part_in_the_sum():
    """No field is forgotten."""
    ones = RunTotals(*[COSTS if each.name == "estimated" else 1 for each in fields(RunTotals)])
    twos = [COSTS + COSTS if each.name == "estimated" else 2 for each in fields(RunTotals)]
    assert ones + ones == RunTotals(*twos)
