"""evidence.py: the confidence of a document, and the share of its values that the witness saw."""

from extractors.core import Evidence, FieldEvidence
from extractors.core.evidence import NOWHERE, Sighting, Sightings


def test_document_confidence_is_the_lowest_known_field_confidence():
    """Without any known confidence it is unknown."""
    fields = (FieldEvidence("a", confidence=0.9), FieldEvidence("b"), FieldEvidence("c", confidence=0.4))
    assert Evidence(fields).confidence == 0.4
    assert Evidence((FieldEvidence("b"),)).confidence is None


def test_with_sightings_gives_each_field_the_share_of_seen_values():
    """Cells count for their list, and a missing row counts as a value that was not seen."""
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
    evidence = Evidence(fields).with_sightings(sightings)
    assert {field.field: field.seen for field in evidence.fields} == {
        "total": 1, "date": 0, "paid": None, "items": 0.5, "other": None,
    }  # fmt: skip
    assert evidence.confidence == 0.9
