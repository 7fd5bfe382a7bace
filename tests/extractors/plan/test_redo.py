"""redo.py: what is done again is said by cause, in documents and dollars."""

from decimal import Decimal

import pytest

from extractors.core.money import Costs
from extractors.plan.redo import RedoSummary

EACH = Costs(Decimal("0.001"), Decimal("0.003"), Decimal("0.01"))


def causes(*told, costs=EACH):
    """The causes of these documents, one each."""
    made = RedoSummary(lambda name: name[0])
    for cause in told:
        made.add((cause, None), costs)
    return made


def test_the_sentence_names_documents_dollars_and_causes():
    """What is done again first, by number; then what is taken beside it."""
    told = ["new"] * 40 + ["schema"] * 5 + ["timeout"] * 7 + ["retry"] * 2
    assert causes(*told).sentence == (
        "reprocessing: 12 documents for $0.012 to $0.12: 7 failed with timeout, 5 with another schema;"
        " and 2 to retry for $0.002 to $0.02, 40 new for $0.04 to $0.40"
    )


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("done", "1 done before"),
        ("schema", "1 with another schema"),
        ("prompt", "1 with another prompt"),
        ("model", "1 with another model"),
        ("unreadable", "1 failed with unreadable"),
    ],
)
def test_every_cause_has_words(cause, words):
    """One document, by the causes of any redo."""
    assert causes(cause).sentence == f"reprocessing: 1 document for $0.001 to $0.01: {words}"


def test_nothing_to_do_again_is_said():
    """What is new is taken all the same."""
    assert causes("new").sentence == "reprocessing: nothing; and 1 new for $0.001 to $0.01"


def test_a_price_that_nobody_knows_is_not_nothing():
    """Neither for what is done again nor for what is new."""
    said = causes("timeout", "new", costs=Costs(None, None, None)).sentence
    assert said == ("reprocessing: 1 document at unknown cost: 1 failed with timeout; and 1 new at unknown cost")


def test_what_costs_nothing_has_one_price():
    """As local reading, and an image that cannot be sent."""
    assert causes("timeout", costs=Costs()).sentence == "reprocessing: 1 document for $0: 1 failed with timeout"


def test_large_numbers_are_readable():
    """Thousands have a comma."""
    assert causes(*["done"] * 1200).sentence.startswith("reprocessing: 1,200 documents for $1.20 to $12.00: 1,200 done")


def test_a_sample_speaks_for_all():
    """Counts add up to the whole, dollars follow, and the sentence says so."""
    made = causes(*["timeout"] * 2, "new")
    made.extend(3000, 1000.0)
    assert {cause: share.documents for cause, share in made.groups.items()} == {"timeout": 2000, "new": 1000}
    assert made.groups["timeout"].costs.high == Decimal(20)
    assert made.sentence.endswith("1,000 new for $1.00 to $10.00 (by a sample)")


def test_lines_have_a_heading_and_numbers():
    """In the order of the sentence."""
    assert causes("new", "prompt").lines() == [
        ("to process, by reason", ""),
        ("  with another prompt", "1 for $0.001 to $0.01"),
        ("  new", "1 for $0.001 to $0.01"),
    ]


def test_json_has_numbers():
    """Documents and dollars by cause; null where nobody knows."""
    assert causes("timeout", "timeout").as_json() == {
        "timeout": {"documents": 2, "cost_usd": {"low": 0.002, "expected": 0.006, "high": 0.02}}
    }
    assert causes("new", costs=Costs(None, None, None)).as_json()["new"]["cost_usd"] == {
        "low": None,
        "expected": None,
        "high": None,
    }
