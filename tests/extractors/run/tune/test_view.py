"""view.py: a server that gives log probabilities for some answers only."""

from extractors.core.evidence import FieldEvidence
from extractors.run.tune.measurements import Reading
from extractors.run.tune.view import _warn_of_unknown


def test_answers_without_log_probabilities_are_counted_where_others_have_them():
    """Where none has them there is no mixture to warn of, and refused answers do not count."""
    known = Reading("a", 0, "a0", accepted=True, image_tokens=1, evidence=(FieldEvidence("total", least=-0.1),))
    unknown = Reading("b", 0, "b0", accepted=True, image_tokens=1, evidence=(FieldEvidence("total"),))
    refused = Reading("c", 0, "c0", accepted=False, image_tokens=1)
    assert _warn_of_unknown([known, unknown, refused]) == [
        "1 of 2 accepted answers have no log probabilities: their confidence is unknown"
    ]
    assert _warn_of_unknown([known, refused]) == _warn_of_unknown([unknown, refused]) == []
