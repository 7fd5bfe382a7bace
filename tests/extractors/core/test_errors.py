"""errors.py: the tree's shape, and that every error survives the way between processes."""

import pickle

import pytest

from extractors.core.errors import (
    ApprovalRequired,
    ConfigurationError,
    DocumentError,
    LedgerError,
    Refused,
    RunError,
    TilewiseError,
)


def tree(kind):
    """The error and everything below it."""
    return [kind, *(each for child in kind.__subclasses__() for each in tree(child))]


ERRORS = tree(TilewiseError)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_survives_pickling(kind):
    """Kind, text and attributes arrive in another process as they left."""
    error = kind("what happened")
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is kind
    assert str(arrived) == "what happened"
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_needs_no_message(kind):
    """Every error can be made without an argument, and then says nothing."""
    assert str(kind()) == ""


def test_a_document_error_keeps_its_extras_when_pickled():
    """Kind, stage and finality travel with the message."""
    error = DocumentError("gone", kind="missing", stage="scan", final=False)
    arrived = pickle.loads(pickle.dumps(error))
    assert (arrived.message, arrived.kind, arrived.stage, arrived.final) == ("gone", "missing", "scan", False)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (ConfigurationError, TilewiseError),
        (DocumentError, TilewiseError),
        (RunError, TilewiseError),
        (ApprovalRequired, ConfigurationError),
        (LedgerError, RunError),
        (Refused, RunError),
    ],
)
def test_each_error_stands_where_the_tree_draws_it(kind, parent):
    """What is caught by its parent is what the module's tree says."""
    assert parent in kind.__bases__


@pytest.mark.parametrize(("kind", "status"), [(RunError, "failed"), (LedgerError, "failed"), (Refused, "refused")])
def test_an_error_that_stops_a_run_names_its_status(kind, status):
    """The row in `runs` says `refused` only where key, account, URL or model are not accepted."""
    assert kind("x").status == status
