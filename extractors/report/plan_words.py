"""What a plan does with images, and why: the words of the estimate's table, of `try`, and of Prefect's artifact."""

from __future__ import annotations

from typing import NamedTuple


class PlanChoice(NamedTuple):
    """What is done with images, and the reason."""

    what: str
    why: str


# By action and reason of a plan.
CHOICES = {
    ("send", "fits"): PlanChoice("sent as they are", "a smaller size costs the same"),
    ("send", "floor"): PlanChoice("sent as they are", "smaller would be hard to read"),
    ("shrink", "native"): PlanChoice("shrunk to what the model sees", "no detail is lost"),
    ("resize", "cheaper"): PlanChoice("reduced to a cheaper size", "retried larger if invalid"),
    ("url", "passed_on"): PlanChoice("sent as a link", "the server fetches it"),
}


def describe_choice(action: str, reason: str) -> str:
    """What is done with images and why: `reduced to a cheaper size: retried larger if invalid`."""
    if action == "reject":
        return f"rejected: {reason}"
    return ": ".join(CHOICES.get((action, reason), (action, reason)))


def explain_choice(action: str, reason: str) -> str:
    """Why it is done, without what."""
    choice = CHOICES.get((action, reason))
    return choice.why if choice else reason
