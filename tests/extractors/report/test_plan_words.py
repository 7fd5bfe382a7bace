"""plan_words.py: one source of words for what a plan does with images."""

from typing import get_args

import pytest

from extractors.core import Action
from extractors.report.plan_words import CHOICES, describe_choice, explain_choice


def test_every_action_has_words():
    """A rejection has the words of its reason."""
    assert {action for action, _ in CHOICES} | {"reject"} == set(get_args(Action))


@pytest.mark.parametrize(
    ("choice", "described", "explained"),
    [
        (("resize", "cheaper"), "reduced to a cheaper size: retried larger if invalid", "retried larger if invalid"),
        (("reject", "broken"), "rejected: broken", "broken"),
        (("send", "another"), "send: another", "another"),
    ],
)
def test_words_of_a_choice(choice, described, explained):
    """What is done and why, or why alone; an unknown reason stands for itself."""
    assert (describe_choice(*choice), explain_choice(*choice)) == (described, explained)
