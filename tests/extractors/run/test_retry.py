"""retry.py: the request that follows an answer that was not accepted, and when a document fails."""

import pytest

from extractors.core import Reply, Verdict
from extractors.core.errors import DocumentError
from extractors.run.retry import MAX_ANSWERS, RetryState

REPLY = Reply(200, "", content='{"a"')


def first_state(**changes):
    """The state of a document before its first call."""
    return RetryState(**{"rung": 0, "max_tokens": 1000, "reasks": 1, "token_ceiling": 4000} | changes)


def apply_outcome(outcome, state, rungs=3):
    """The state after an answer with this outcome."""
    return state.after_answer(Verdict(outcome, errors="total: no number"), REPLY, rungs)


def test_truncated_answer_is_retried_with_twice_the_tokens():
    """The rung and the number of re-asks stay the same."""
    following = apply_outcome("truncated", first_state())
    assert (following.max_tokens, following.rung, following.reasks) == (2000, 0, 1)


def test_truncated_answer_fails_at_the_token_ceiling():
    """The failure is not final, as another run may raise the limit."""
    with pytest.raises(DocumentError) as raised:
        apply_outcome("truncated", first_state(max_tokens=4000))
    assert (raised.value.kind, raised.value.stage, raised.value.final) == ("truncated", "validate", False)


def test_runaway_answer_is_retried_once_at_the_same_limit():
    """More tokens would only repeat the answer."""
    runaway = Verdict("truncated", errors="cut", runaway=True)
    following = first_state().after_answer(runaway, REPLY, 3)
    assert (following.max_tokens, following.reasks, following.feedback) == (1000, 1, None)
    with pytest.raises(DocumentError, match="cut"):
        following.after_answer(runaway, REPLY, 3)


@pytest.mark.parametrize("outcome", ["off_schema", "not_json", "empty"])
def test_malformed_answer_is_re_asked_with_its_errors(outcome):
    following = apply_outcome(outcome, first_state())
    assert (following.reasks, following.rung) == (0, 0)
    assert (following.feedback.answer, following.feedback.errors) == ('{"a"', "total: no number")


@pytest.mark.parametrize("outcome", ["off_schema", "not_json", "empty"])
def test_malformed_answer_fails_without_re_asks_left(outcome):
    with pytest.raises(DocumentError, match="total: no number"):
        apply_outcome(outcome, first_state(reasks=0))


def test_refused_value_is_retried_on_the_next_rung():
    assert apply_outcome("refused", first_state()).rung == 1


def test_sum_that_differs_is_retried_with_the_difference_on_the_next_rung_and_once_on_the_top():
    """Then the failure is final."""
    short = Verdict("refused", errors="line_items.amount: 2.50 short", sum_differs=True)
    climbed = first_state().after_answer(short, REPLY, 2)
    assert (climbed.rung, climbed.reasks, climbed.feedback.errors) == (1, 1, short.errors)
    reasked = climbed.after_answer(short, REPLY, 2)
    assert (reasked.rung, reasked.reasks, reasked.feedback.errors) == (1, 0, short.errors)
    with pytest.raises(DocumentError) as raised:
        reasked.after_answer(short, REPLY, 2)
    assert (raised.value.kind, raised.value.final) == ("refused", True)


def test_refusal_on_the_top_rung_is_final():
    """There is no larger image to send."""
    with pytest.raises(DocumentError) as raised:
        apply_outcome("refused", first_state(rung=2))
    assert (raised.value.kind, raised.value.final) == ("refused", True)


@pytest.mark.parametrize("outcome", ["truncated", "off_schema", "refused"])
def test_document_fails_after_the_maximum_of_answers(outcome):
    """The maximum holds for every outcome."""
    with pytest.raises(DocumentError):
        apply_outcome(outcome, first_state(answers=MAX_ANSWERS - 1, reasks=99), rungs=99)


def test_request_over_the_context_steps_down_once():
    too_long = DocumentError("403", kind="context_exceeded", stage="call")
    lower = first_state(rung=2).step_down(too_long)
    assert lower.rung == 1
    with pytest.raises(DocumentError):
        lower.step_down(too_long)


@pytest.mark.parametrize(("kind", "rung"), [("context_exceeded", 0), ("client_error", 2)])
def test_other_errors_do_not_step_down(kind, rung):
    """A request over the context does not step down from the lowest rung."""
    with pytest.raises(DocumentError):
        first_state(rung=rung).step_down(DocumentError("no", kind=kind, stage="call"))


def test_document_with_an_accepted_answer_does_not_step_down():
    """The lower rung was answered already."""
    with pytest.raises(DocumentError):
        first_state(rung=1, accepted=("answer",)).step_down(DocumentError("403", kind="context_exceeded", stage="call"))
