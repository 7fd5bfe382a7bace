"""contest.py: a value is the less sure the more candidates there were, and the nearer the next best came."""

import pytest

from extractors.endpoint.fill.contest import judge_contest
from extractors.endpoint.ocr.words import Document, Word, group_lines


def page(*texts):
    """Lines of words; | stands for a wide gap."""
    words = [
        Word(part.strip(), 400 * column, row * 40, 400 * column + 10 * len(part), row * 40 + 20)
        for row, text in enumerate(texts)
        for column, part in enumerate(text.split("|"))
    ]
    return Document((group_lines(words),))


@pytest.mark.parametrize(
    ("kind", "sure", "contested"),
    [
        ("total", ["TOTAL | 8.00", "CASH | 10.00", "CHANGE | 2.00"], ["TOTAL | 8.00", "GRAND TOTAL | 9.00"]),
        ("total", ["TOTAL | 8.00"], ["TOTAL | 8.00", "TOTAL AMOUNT | 8.60"]),
        ("date", ["Date: 25/12/2018"], ["Date: 25/12/2018", "Date: 26/12/2018"]),
        ("date", ["Date: 25/12/2018"], ["Date: 05/03/2018"]),
        ("company", ["INN TRADING SDN BHD", "x 1.00"], ["INN TRADING", "BAR TRADING", "x 1.00"]),
        ("currency", ["TOTAL RM 8.00", "CASH RM 9.00"], ["TOTAL RM 8.00", "CASH $ 9.00"]),
        ("tax", ["GST 6% | 1.00"], ["GST 6% | 1.00", "GST | 2.00"]),
        ("subtotal", ["SUBTOTAL | 7.00"], ["SUBTOTAL | 7.00", "SUB-TOTAL | 6.00"]),
    ],
)
def test_second_candidate_makes_a_value_less_sure(kind, sure, contested):
    """Of another value: one that says the same confirms it."""
    alone, beside = judge_contest(kind, page(*sure)), judge_contest(kind, page(*contested))
    assert 1 / 3 <= beside.chosen < alone.chosen <= 1
    assert 0.5 < alone.present < 1


def test_weak_candidate_is_contested_by_none():
    """A date without a label may be another's; without any candidate there is no date."""
    labelled, bare = (judge_contest("date", page(text)).present for text in ("Date: 25/12/2018", "valid 25/12/2018"))
    assert bare < 0.6 < labelled
    assert judge_contest("date", page("no date")).present == 0
    assert judge_contest("phone", page("Tel: 03-8060 4233")) is None


def test_unexplained_lines_make_a_missing_address_less_sure():
    """Each may be one; and they contest one that was found further up."""
    none, some = (
        judge_contest("address", page("INN TRADING", *lines)) for lines in (["RECEIPT"], ["SRI RAMPAI", "PUCHONG"])
    )
    assert none.present == 0
    assert 0.3 < some.present < 0.6
    assert judge_contest("address", page("INN TRADING", "NO 5, JALAN BESAR")).present > 0.9
