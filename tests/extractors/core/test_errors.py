"""errors.py: the tree of errors; every error survives pickling between processes."""

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


def list_subclasses(kind):
    """The error class and all classes below it."""
    return [kind, *(error for child in kind.__subclasses__() for error in list_subclasses(child))]


ERRORS = list_subclasses(TilewiseError)


@pytest.mark.parametrize("kind", ERRORS)
def test_error_survives_pickling(kind):
    """Type, text and attributes are preserved."""
    error = kind("what happened")
    unpickled = pickle.loads(pickle.dumps(error))
    assert type(unpickled) is kind
    assert str(unpickled) == "what happened"
    assert vars(unpickled) == vars(error)


@pytest.mark.parametrize("kind", ERRORS)
def test_error_without_a_message_has_an_empty_text(kind):
    assert str(kind()) == ""


def test_document_error_keeps_its_attributes_when_pickled():
    error = DocumentError("gone", kind="missing", stage="scan", final=False)
    unpickled = pickle.loads(pickle.dumps(error))
    assert (unpickled.message, unpickled.kind, unpickled.stage, unpickled.final) == ("gone", "missing", "scan", False)


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
def test_error_has_the_parent_that_the_tree_draws(kind, parent):
    assert parent in kind.__bases__


@pytest.mark.parametrize(("kind", "status"), [(RunError, "failed"), (LedgerError, "failed"), (Refused, "refused")])
def test_run_error_has_the_status_of_the_run(kind, status):
    """The status is `refused` only if the server does not accept key, account, URL or model."""
    assert kind("x").status == status
