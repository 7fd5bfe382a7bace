"""view.py: the warning about accepted answers without log probabilities."""

from extractors.core.evidence import FieldEvidence
from extractors.run.tune.measurements import Reading
from extractors.run.tune.view import _warn_of_unknown


def test_warning_counts_answers_without_log_probabilities_where_others_have_them():
    """There is no warning where no accepted answer or every one has them."""
    measured = Reading("a", 0, "a0", accepted=True, image_tokens=1, evidence=(FieldEvidence("total", least=-0.1),))
    unknown = Reading("b", 0, "b0", accepted=True, image_tokens=1, evidence=(FieldEvidence("total"),))
    refused = Reading("c", 0, "c0", accepted=False, image_tokens=1)
    assert _warn_of_unknown([measured, unknown, refused]) == [
        "1 of 2 accepted answers have no log probabilities: their confidence is unknown"
    ]
    assert _warn_of_unknown([measured, refused]) == _warn_of_unknown([unknown, refused]) == []
