"""chunk.py, pilot.py and brake.py: what happens after a bad answer, and what stops a run."""

import asyncio
import os
import signal
from decimal import Decimal

import pytest

from extractors.call.rate_limit import Limits, RateLimiter
from extractors.core import Reply, Verdict
from extractors.core.errors import DocumentError, Failing, Stopped
from extractors.core.money import Costs
from extractors.core.totals import RunTotals
from extractors.run.chunk import MOST_ANSWERS, RetryState
from extractors.run.pilot import FailureGuard
from extractors.run.shutdown import Shutdown

REPLY = Reply(200, "", content='{"a"')


def turn(**changes):
    """The first turn of a document."""
    return RetryState(**{"rung": 0, "max_tokens": 1000, "reasks": 1, "most_tokens": 4000} | changes)


def after(outcome, state, rungs=3):
    """The turn after an answer with this outcome."""
    return state.after(Verdict(outcome, errors="total: no number"), REPLY, rungs)


def test_a_cut_answer_gets_more_tokens():
    """The same picture is asked about with twice the room."""
    following = after("truncated", turn())
    assert (following.max_tokens, following.rung, following.reasks) == (2000, 0, 1)


def test_more_tokens_have_an_end():
    """At four times the limit a cut answer is a failure that another run may cure."""
    with pytest.raises(DocumentError) as raised:
        after("truncated", turn(max_tokens=4000))
    assert (raised.value.kind, raised.value.stage, raised.value.final) == ("truncated", "validate", False)


@pytest.mark.parametrize("outcome", ["off_schema", "not_json", "empty"])
def test_a_malformed_answer_is_asked_for_again_with_the_errors(outcome):
    following = after(outcome, turn())
    assert (following.reasks, following.rung) == (0, 0)
    assert (following.feedback.answer, following.feedback.errors) == ('{"a"', "total: no number")


@pytest.mark.parametrize("outcome", ["off_schema", "not_json", "empty"])
def test_asking_again_has_an_end(outcome):
    with pytest.raises(DocumentError, match="total: no number"):
        after(outcome, turn(reasks=0))


def test_a_refused_value_is_looked_at_on_the_next_rung():
    assert after("refused", turn()).rung == 1


def test_the_top_of_the_ladder_is_final():
    """More pixels than all there are cannot be had."""
    with pytest.raises(DocumentError) as raised:
        after("refused", turn(rung=2))
    assert (raised.value.kind, raised.value.final) == ("refused", True)


@pytest.mark.parametrize("outcome", ["truncated", "off_schema", "refused"])
def test_the_number_of_answers_has_an_end(outcome):
    """Whatever is wrong with them, a document is asked about so many times at most."""
    with pytest.raises(DocumentError):
        after(outcome, turn(answers=MOST_ANSWERS - 1, reasks=99), rungs=99)


def test_a_request_too_long_goes_one_rung_down_once():
    too_long = DocumentError("403", kind="context_exceeded", stage="call")
    lower = turn(rung=2).down(too_long)
    assert lower.rung == 1
    with pytest.raises(DocumentError):
        lower.down(too_long)


@pytest.mark.parametrize(("kind", "rung"), [("context_exceeded", 0), ("client_error", 2)])
def test_nothing_else_goes_down(kind, rung):
    """Below the lowest rung there is none, and another error is not cured by fewer pixels."""
    with pytest.raises(DocumentError):
        turn(rung=rung).down(DocumentError("no", kind=kind, stage="call"))


def documents(accepted, failed, cost="0", high="1"):
    """One told tally of so many documents."""
    return RunTotals(
        accepted=accepted, failed=failed, cost_usd=Decimal(cost), estimated=Costs(Decimal(0), Decimal(0), Decimal(high))
    )


def test_the_pilot_waits_for_200_documents():
    assert FailureGuard().observe(documents(0, 199)) is None


def test_the_pilot_stops_a_run_of_which_most_fails():
    pilot = FailureGuard()
    pilot.observe(documents(90, 109))
    assert pilot.observe(documents(0, 1)).status == "failing"


def test_half_is_not_most():
    assert FailureGuard().observe(documents(100, 100)) is None


def test_more_failures_may_be_allowed():
    """A share given with `--fail-above` that is over a half moves the line."""
    assert FailureGuard(fail_above=0.9).observe(documents(30, 170)) is None


def test_the_pilot_looks_again_every_thousand():
    pilot = FailureGuard()
    assert pilot.observe(documents(200, 0)) is None
    assert pilot.observe(documents(0, 999)) is None
    assert isinstance(pilot.observe(documents(0, 1)), Failing)


@pytest.mark.parametrize(("cost", "stops"), [("2", False), ("2.01", True)])
def test_the_pilot_stops_a_run_that_costs_twice_the_highest_estimate(cost, stops):
    assert isinstance(FailureGuard().observe(documents(200, 0, cost)), Failing) is stops


@pytest.fixture
def traffic():
    """Traffic that nobody sends through."""
    return RateLimiter(Limits())


@pytest.mark.anyio
async def test_a_first_signal_stops_and_a_second_cuts(traffic):
    """After the first nothing is begun, after the second nothing is waited for."""
    said = []
    with Shutdown(traffic, drain=60, max_time=None, say=said.append) as brake:
        task = asyncio.create_task(asyncio.sleep(3600))
        brake.track(task)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        first = (brake.error.status, brake.error.exit_code, task.cancelled())
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.gather(task, return_exceptions=True)
    assert first == ("stopped", 3, False)
    assert (brake.cutting, task.cancelled()) == (True, True)
    assert said == ["SIGINT: calls on their way may finish for 60 s; once more stops at once"]


@pytest.mark.anyio
async def test_calls_on_their_way_have_a_while(traffic):
    """When the drain is over, they are cut."""
    with Shutdown(traffic, drain=0.01, max_time=None, say=print) as brake:
        task = asyncio.create_task(asyncio.sleep(3600))
        brake.track(task)
        brake.stop(Stopped("enough"))
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


@pytest.mark.anyio
async def test_the_longest_time_stops_a_run(traffic):
    with Shutdown(traffic, drain=60, max_time=0.01, say=print), pytest.raises(Stopped, match=r"time limit of 0\.01 s"):
        await traffic.sleep(5)


@pytest.mark.anyio
async def test_the_first_reason_counts(traffic):
    with Shutdown(traffic, drain=60, max_time=None, say=print) as brake:
        brake.stop(Stopped("first"))
        brake.stop(Failing("second"))
    assert str(brake.error) == "first"
