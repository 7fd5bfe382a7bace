"""refusals.py: the guard that limits calls before the first answer, and withholds refused documents."""

import asyncio

import pytest

from extractors.core import Failed, Problem, Refusal, Unfinished
from extractors.run.refusals import MAX_CALLS, MAX_SAME, RefusalGuard

BAD_REQUEST = Refusal(400, "invalid_request_error")


@pytest.fixture
def make_refused(make):
    """Makes the failure of a document whose request was refused."""
    return lambda name, *, final=False: make.fail(
        name, refusal=BAD_REQUEST, problem=Problem("client_error", "call", "400 no", final)
    )


def test_guard_stops_at_the_fifth_document_with_one_refusal():
    """The same document counts once, however often it is refused."""
    guard = RefusalGuard()
    errors = [guard.count("a.jpg", BAD_REQUEST, "no") for _ in range(MAX_SAME)]
    errors += [guard.count(f"{number}.jpg", BAD_REQUEST, "no") for number in range(MAX_SAME - 1)]
    assert errors[:-1] == [None] * (len(errors) - 1)
    assert errors[-1].status == "refused"


def test_guard_counts_nothing_after_the_first_answer():
    """A refusal after the first answer is about a single document."""
    guard = RefusalGuard()
    guard.confirm()
    assert {guard.count(f"{number}.jpg", BAD_REQUEST, "no") for number in range(20)} == {None}


def test_guard_releases_withheld_failures_when_documents_end(make_refused):
    """With fewer than five refused documents, the run is not stopped and they are failures."""
    guard, failure = RefusalGuard(), make_refused("/in/a.jpg")
    assert guard.withhold([failure]) == []
    assert guard.release() == [failure]
    assert guard.release() == []


def test_guard_releases_unfinished_documents_after_a_stop(make_refused):
    """None of the documents that led to the stop has failed."""
    guard = RefusalGuard()
    failures = [make_refused(f"/in/{number}.jpg") for number in range(MAX_SAME)]
    assert guard.withhold(failures[:2]) == []
    for failure in failures:
        guard.count(failure.planned.document, BAD_REQUEST, "no")
    assert [type(result) for result in guard.withhold(failures[2:]) + guard.release()] == [Unfinished] * MAX_SAME


def test_guard_lets_other_results_through(make_refused, make):
    """Accepted documents, other failures and final refusals are recorded at once."""
    others = [make.accept("/in/a.jpg"), make.fail("/in/b.jpg"), make_refused("/in/c.jpg", final=True)]
    assert RefusalGuard().withhold(others) == others
    assert isinstance(others[1], Failed)


def test_guard_limits_calls_in_flight_until_the_first_answer(loop):
    """The seventeenth call waits; all start once one is answered."""

    async def start_calls():
        guard, started, gate = RefusalGuard(), [], asyncio.Event()

        async def call(number):
            async with guard.slot():
                started.append(number)
                await gate.wait()

        calls = [asyncio.create_task(call(number)) for number in range(40)]
        await asyncio.sleep(1)
        before = len(started)
        guard.confirm()
        gate.set()
        await asyncio.gather(*calls)
        return before, len(started)

    assert loop.run_until_complete(start_calls()) == (MAX_CALLS, 40)
