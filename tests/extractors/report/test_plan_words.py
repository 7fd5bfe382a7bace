"""plan_words.py: the words for the choices of a plan."""

from typing import get_args

import pytest

from extractors.core import Action
from extractors.report.plan_words import CHOICES, describe_choice, explain_choice


def test_every_action_has_words():
    """A rejection is described by its reason."""
    assert {action for action, _ in CHOICES} | {"reject"} == set(get_args(Action))


@pytest.mark.parametrize(
    ("choice", "description", "explanation"),
    [
        (("resize", "cheaper"), "reduced to a cheaper size: retried larger if invalid", "retried larger if invalid"),
        (("reject", "broken"), "rejected: broken", "broken"),
        (("send", "another"), "send: another", "another"),
    ],
)
def test_choice_has_a_description_and_an_explanation(choice, description, explanation):
    """An unknown reason is used as it is."""
    assert (describe_choice(*choice), explain_choice(*choice)) == (description, explanation)
