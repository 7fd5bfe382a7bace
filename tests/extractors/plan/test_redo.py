"""redo.py: the summary of documents to process by cause, in documents and dollars."""

from decimal import Decimal

import pytest

from extractors.core.money import Costs
from extractors.plan.redo import RedoSummary

COSTS = Costs(Decimal("0.001"), Decimal("0.003"), Decimal("0.01"))


def summarize(*document_causes, costs=COSTS):
    """The summary of documents with these causes, one each."""
    summary = RedoSummary(lambda name: name[0])
    for cause in document_causes:
        summary.add((cause, None), costs)
    return summary


def test_sentence_has_documents_dollars_and_causes_by_number():
    """The causes of reprocessing come first, then documents to retry and new ones."""
    document_causes = ["new"] * 40 + ["schema"] * 5 + ["timeout"] * 7 + ["retry"] * 2
    assert summarize(*document_causes).sentence == (
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
def test_sentence_of_one_document_names_its_cause(cause, words):
    assert summarize(cause).sentence == f"reprocessing: 1 document for $0.001 to $0.01: {words}"


def test_sentence_without_reprocessing_says_nothing_and_counts_new_documents():
    assert summarize("new").sentence == "reprocessing: nothing; and 1 new for $0.001 to $0.01"


def test_sentence_says_unknown_cost_for_an_unknown_price():
    """It says so of reprocessed and of new documents."""
    sentence = summarize("timeout", "new", costs=Costs(None, None, None)).sentence
    assert sentence == ("reprocessing: 1 document at unknown cost: 1 failed with timeout; and 1 new at unknown cost")


def test_sentence_has_one_amount_when_low_and_high_are_equal():
    """Local OCR and a rejected image cost $0."""
    assert summarize("timeout", costs=Costs()).sentence == "reprocessing: 1 document for $0: 1 failed with timeout"


def test_sentence_has_commas_in_thousands():
    assert summarize(*["done"] * 1200).sentence.startswith(
        "reprocessing: 1,200 documents for $1.20 to $12.00: 1,200 done"
    )


def test_extended_summary_scales_counts_and_dollars_and_names_the_sample():
    summary = summarize(*["timeout"] * 2, "new")
    summary.extend(3000, 1000.0)
    assert {cause: share.documents for cause, share in summary.groups.items()} == {"timeout": 2000, "new": 1000}
    assert summary.groups["timeout"].costs.high == Decimal(20)
    assert summary.sentence.endswith("1,000 new for $1.00 to $10.00 (by a sample)")


def test_lines_have_a_heading_and_one_line_a_cause():
    assert summarize("new", "prompt").lines() == [
        ("to process, by reason", ""),
        ("  with another prompt", "1 for $0.001 to $0.01"),
        ("  new", "1 for $0.001 to $0.01"),
    ]


def test_json_has_documents_and_dollars_by_cause():
    """An unknown price is null."""
    assert summarize("timeout", "timeout").as_json() == {
        "timeout": {"documents": 2, "cost_usd": {"low": 0.002, "expected": 0.006, "high": 0.02}}
    }
    assert summarize("new", costs=Costs(None, None, None)).as_json()["new"]["cost_usd"] == {
        "low": None,
        "expected": None,
        "high": None,
    }
