"""cascade.py: when an accepted answer is sure, and which of several answers is published."""

from dataclasses import replace
from decimal import Decimal

import pytest

from extractors.core.evidence import Evidence, FieldEvidence
from extractors.run.cascade import Cascade, choose_surest, compare_answers
from extractors.run.retry import MAX_ANSWERS, RetryState


@pytest.fixture
def make_answer(make, model):
    """Makes an accepted answer with these confidences of its two fields; without evidence if `asked` is false."""

    def accept(shop=None, total=None, *, with_evidence=True, value=None):
        fields = (FieldEvidence("shop", confidence=shop), FieldEvidence("total", confidence=total))
        parsed = value or model(shop="Inn", total=Decimal("8.20"))
        return replace(make.accept(), value=parsed, evidence=Evidence(fields) if with_evidence else None)

    return accept


def test_answer_below_the_threshold_of_any_field_is_not_sure(make_answer):
    """A confidence equal to the threshold is sure; a threshold of a field replaces the common one."""
    assert Cascade(below_all=0.8).is_sure(make_answer(0.8, 0.9))
    assert not Cascade(below_all=0.8).is_sure(make_answer(0.79, 0.9))
    assert Cascade({"shop": 0.5}, below_all=0.8).is_sure(make_answer(0.6, 0.8))
    assert Cascade({"total": 0.9}).is_sure(make_answer(0.1, 0.9))


def test_unknown_confidence_never_climbs(make_answer):
    """Neither a field nor a whole answer of unknown confidence climbs; without a threshold nothing climbs."""
    strict = Cascade({"total": 0.99}, below_all=0.99)
    assert strict.is_sure(make_answer(None, None))
    assert strict.is_sure(make_answer(with_evidence=False))
    assert Cascade().is_sure(make_answer(0.0, 0.0))


def test_answer_that_agrees_with_a_lower_rung_is_sure(make_answer, model):
    """It must agree in all fields of AGREE_ON, with case and space of texts ignored; without AGREE_ON it is not sure."""
    lower = make_answer(0.2, 0.2, value=model(shop="THE  Inn", total=Decimal("8.2")))
    higher = make_answer(0.3, 0.3, value=model(shop="The Inn", total=Decimal("8.20")))
    other = make_answer(0.3, 0.3, value=model(shop="The Inn", total=None))
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
def test_surest_of_accepted_answers_is_published(make_answer, confidences, surest):
    """The higher rung is published where two confidences are equal or one is unknown."""
    answers = [make_answer(confidence, 0.9 if confidence else None) for confidence in confidences]
    assert choose_surest(answers) is answers[surest]


def test_document_climbs_to_the_end_of_its_ladder_and_keeps_its_answers(make_answer):
    """It also ends at the maximum of answers, and below a rung that exceeded the context."""
    state, unsure = RetryState(0, 1000, 1, 4000), make_answer(0.2)
    higher = state.climb(unsure, 2)
    assert (higher.rung, higher.answers, higher.accepted) == (1, 1, (unsure,))
    assert higher.climb(unsure, 2) is None
    assert replace(state, answers=MAX_ANSWERS - 1).climb(unsure, 2) is None
    assert replace(state, stepped_down=True).climb(unsure, 2) is None
