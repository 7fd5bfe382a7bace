"""cascade.py: when an accepted answer is sure enough, and which of several is published."""

from dataclasses import replace
from decimal import Decimal

import pytest

from extractors.core.evidence import Evidence, FieldEvidence
from extractors.run.cascade import Cascade, choose_surest, compare_answers
from extractors.run.retry import MAX_ANSWERS, RetryState


@pytest.fixture
def answer(make, model):
    """An accepted answer with these confidences of its two fields; None: no confidence was asked for."""

    def accepted(shop=None, total=None, *, asked=True, value=None):
        fields = (FieldEvidence("shop", confidence=shop), FieldEvidence("total", confidence=total))
        read = value or model(shop="Inn", total=Decimal("8.20"))
        return replace(make.accept(), value=read, evidence=Evidence(fields) if asked else None)

    return accepted


def test_answer_below_the_threshold_of_any_field_is_not_sure(answer):
    """The threshold itself is enough; a field of its own threshold has that instead."""
    assert Cascade(below_all=0.8).is_sure(answer(0.8, 0.9))
    assert not Cascade(below_all=0.8).is_sure(answer(0.79, 0.9))
    assert Cascade({"shop": 0.5}, below_all=0.8).is_sure(answer(0.6, 0.8))
    assert Cascade({"total": 0.9}).is_sure(answer(0.1, 0.9))


def test_unknown_confidence_never_climbs(answer):
    """Neither of a field nor of a whole answer; and without a threshold nothing climbs."""
    strict = Cascade({"total": 0.99}, below_all=0.99)
    assert strict.is_sure(answer(None, None))
    assert strict.is_sure(answer(asked=False))
    assert Cascade().is_sure(answer(0.0, 0.0))


def test_answer_that_agrees_with_a_lower_rung_is_sure(answer, model):
    """In all fields of AGREE_ON: texts whatever their case and space; without AGREE_ON agreement proves nothing."""
    lower = answer(0.2, 0.2, value=model(shop="THE  Inn", total=Decimal("8.2")))
    higher = answer(0.3, 0.3, value=model(shop="The Inn", total=Decimal("8.20")))
    other = answer(0.3, 0.3, value=model(shop="The Inn", total=None))
    agreeing = Cascade(below_all=0.8, agree_on=("shop", "total"))
    assert agreeing.is_sure(higher, [lower])
    assert agreeing.is_sure(higher, [lower, other])
    assert not agreeing.is_sure(other, [lower])
    assert not replace(agreeing, agree_on=()).is_sure(higher, [lower])
    assert compare_answers(lower.value, other.value) == {"shop": True, "total": False}


@pytest.mark.parametrize(
    ("confidences", "surest"),
    [([0.6, 0.4], 0), ([0.4, 0.6, 0.5], 1), ([0.5, 0.5], 1), ([0.6, None], 1), ([None, 0.1], 1)],
)
def test_surest_of_accepted_answers_is_published(answer, confidences, surest):
    """The higher rung wins where two are equal, and where one is unknown."""
    answers = [answer(each, 0.9 if each else None) for each in confidences]
    assert choose_surest(answers) is answers[surest]


def test_document_climbs_as_far_as_its_ladder_and_keeps_its_answers(answer):
    """It ends at the top, at the maximum of answers, and below a rung that exceeded the context."""
    state, unsure = RetryState(0, 1000, 1, 4000), answer(0.2)
    higher = state.climb(unsure, 2)
    assert (higher.rung, higher.answers, higher.accepted) == (1, 1, (unsure,))
    assert higher.climb(unsure, 2) is None
    assert replace(state, answers=MAX_ANSWERS - 1).climb(unsure, 2) is None
    assert replace(state, stepped_down=True).climb(unsure, 2) is None
