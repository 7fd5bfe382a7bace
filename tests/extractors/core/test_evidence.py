"""The values of evidence (extractors/core/evidence.py)."""

from extractors.core import Evidence, FieldEvidence


def test_confidence_of_a_document_is_the_least_of_the_known_ones():
    """A field without a confidence does not count; without any the document has none."""
    fields = (FieldEvidence("a", confidence=0.9), FieldEvidence("b"), FieldEvidence("c", confidence=0.4))
    assert Evidence(fields).confidence == 0.4
    assert Evidence((FieldEvidence("b"),)).confidence is None
