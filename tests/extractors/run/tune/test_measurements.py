"""measurements.py: when a document is right, and on which fields two rungs agree."""

import pytest

from extractors.run.tune.measurements import FieldComparison, FieldMatch, Reading


def make_comparison(field, *, right):
    return FieldComparison("a.jpg", field, "text", 0, FieldMatch(right=right, similarity=float(right)))


def make_reading(rung=0, *, accepted=True, **answers):
    return Reading("a.jpg", rung, f"call {rung}", accepted, 100, answers=answers)


@pytest.mark.parametrize(("verdicts", "right"), [([True, True], True), ([True, False], False), ([], True)])
def test_document_is_right_when_all_labelled_fields_are(verdicts, right):
    fields = tuple(make_comparison(f"field{number}", right=verdict) for number, verdict in enumerate(verdicts))
    assert Reading("a.jpg", 0, "call", accepted=True, image_tokens=100, comparisons=fields).right is right


def test_readings_agree_field_by_field():
    assert make_reading(1, total="12", company='"b"').agreement(make_reading(total="12", company='"a"')) == {
        "total": True,
        "company": False,
    }


def test_nothing_agrees_with_an_answer_that_was_not_accepted():
    assert make_reading(1, total="12").agreement(None) == {}
    assert make_reading(1, total="12").agreement(make_reading(accepted=False)) == {}
    assert make_reading(1, accepted=False).agreement(make_reading(total="12")) == {}


def test_field_that_only_one_reading_has_is_in_no_agreement():
    assert make_reading(1, total="12", date='"2018-03-22"').agreement(make_reading(total="12")) == {"total": True}
