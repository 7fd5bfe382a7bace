"""returned.py: which model answered, told from the one before."""

from datetime import UTC, datetime

import pytest

from extractors.core import Attempt, CallRequest, Reply
from extractors.core.errors import Refused
from extractors.run.returned import ModelGuard

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ORDER = CallRequest("a", "key", "request", 300, (), 100, 2000, 128, 512)


def attempt(model, status=200):
    """An attempt that was answered under this name."""
    return Attempt(ORDER, NOW, 1.0, "accepted", "yes", Reply(status, "", model=model))


LOST = Attempt(ORDER, NOW, 1.0, "connection", "unknown")


def returned(*before, stops=False):
    return ModelGuard("maker/model", frozenset(before), stops)


@pytest.mark.parametrize("before", [(), ("one",), ("one", "two")])
def test_a_name_that_was_there_is_no_change(before):
    """And the first run has nothing to compare with."""
    watching = returned(*before, stops=True)
    assert watching.observe([attempt("one"), LOST, attempt(None)]) is None
    assert watching.warning() is None
    assert watching.names == {"one"}


def test_a_new_name_is_a_warning():
    """It names who was asked, who answered, and who answered before."""
    watching = returned("one", "two")
    assert watching.observe([attempt("two"), attempt("four"), attempt("three")]) is None
    assert watching.warning() == (
        "maker/model was answered by four, three, in the last run by one, two:"
        " see whether its answers and its bill are the same"
    )


def test_a_new_name_stops_who_asked_for_it():
    """The error says what to set."""
    stop = returned("one", stops=True).observe([attempt("two")])
    assert isinstance(stop, Refused)
    assert "maker/model was answered by two, in the last run by one" in stop.message
    assert "set TILEWISE_ON_MODEL_CHANGE=warn to go on with it" in stop.message


def test_no_answer_is_no_change():
    """Calls without an answer have no name."""
    watching = returned("one", stops=True)
    assert watching.observe([LOST, LOST]) is None
    assert watching.names == set()
