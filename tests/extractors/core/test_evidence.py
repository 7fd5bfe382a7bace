"""The values of evidence (extractors/core/evidence.py)."""

from extractors.core import Evidence, FieldEvidence
from extractors.core.evidence import NOWHERE, Sighting, Sightings


def test_confidence_of_a_document_is_the_least_of_the_known_ones():
    """A field without a confidence does not count; without any the document has none."""
    fields = (FieldEvidence("a", confidence=0.9), FieldEvidence("b"), FieldEvidence("c", confidence=0.4))
    assert Evidence(fields).confidence == 0.4
    assert Evidence((FieldEvidence("b"),)).confidence is None


def test_share_that_was_seen_is_of_the_judged_values_of_a_field():
    """Cells of a list count for the list, and a missing row as a value that stands nowhere."""
    sightings = Sightings(
        (
            Sighting("total", 1),
            Sighting("date", NOWHERE),
            Sighting("paid"),
            Sighting("items"),
            Sighting("items[0].amount", 1),
            Sighting("items[0].name", 2),
            Sighting("items[1].amount", NOWHERE),
            Sighting("items[?]", 1),
        )
    )
    fields = tuple(FieldEvidence(name, confidence=0.9) for name in ("total", "date", "paid", "items", "other"))
    weighed = Evidence(fields).with_sightings(sightings)
    assert {each.field: each.seen for each in weighed.fields} == {
        "total": 1, "date": 0, "paid": None, "items": 0.5, "other": None,
    }  # fmt: skip
    assert weighed.confidence == 0.9
