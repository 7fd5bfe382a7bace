"""Readings of labelled documents at each rung, built by hand or drawn at random."""

import random
from decimal import Decimal

from extractors.core.evidence import FieldEvidence
from extractors.run.tune.choices import LabelledReadings
from extractors.run.tune.measurements import FieldComparison, FieldMatch, Reading

FIELDS = ("company", "date", "total")
TOKENS = (1600, 3200, 6400)


def reading(
    document="a.jpg", rung=0, *, right=(), confidence=None, accepted=True, tokens=None, call=None, fields=FIELDS
):
    """A reading; `right` names the fields that are read correctly, and `confidence` is that of each field."""
    return Reading(
        document,
        rung,
        call or f"{document} {rung}",
        accepted,
        TOKENS[rung] if tokens is None else tokens,
        Decimal(rung + 1),
        tuple(
            FieldComparison(document, name, "text", rung, FieldMatch(name in right, float(name in right)))
            for name in fields
        ),
        tuple(FieldEvidence(name, confidence=confidence) for name in fields),
        {name: "true" if name in right else f"wrong at {rung}" for name in fields} if accepted else {},
    )


def score_by_token(read, lower):
    """The confidence of the answer itself; the reading of the lower rung is ignored."""
    return {each.field: each.confidence for each in read.evidence}


def draw_documents(count, *, errors, informative=True, seed=3):
    """Documents of three fields; `errors` has the chance of an error by rung, which a low confidence announces."""
    dice = random.Random(seed)
    documents = []
    for number in range(count):
        hard = dice.random()  # a field that is wrong at a rung is wrong at all lower rungs
        readings = []
        for rung, chance in enumerate(errors):
            right = [name for place, name in enumerate(FIELDS) if hard >= chance or place != number % len(FIELDS)]
            announced = len(right) == len(FIELDS) if informative else dice.random() < 0.5
            confidence = dice.uniform(0.5, 1) if announced else dice.uniform(0, 0.5)
            readings.append(reading(f"{number}.jpg", rung, right=right, confidence=confidence))
        documents.append(LabelledReadings(f"{number}.jpg", tuple(readings)))
    return documents
