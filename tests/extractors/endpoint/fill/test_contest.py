"""contest.py: more candidates, and closer ones, lower the probability of a value."""

import pytest

from extractors.endpoint.fill.contest import judge_contest
from extractors.endpoint.ocr.words import OcrDocument, Word, group_lines


def page(*texts):
    """Build a document of one page from lines of words; | stands for a wide gap."""
    words = [
        Word(part.strip(), 400 * column, row * 40, 400 * column + 10 * len(part), row * 40 + 20)
        for row, text in enumerate(texts)
        for column, part in enumerate(text.split("|"))
    ]
    return OcrDocument((group_lines(words),))


@pytest.mark.parametrize(
    ("kind", "clear_lines", "contested_lines"),
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
def test_contest_lowers_the_probability_of_a_value_with_a_rival(kind, clear_lines, contested_lines):
    """A second candidate of another value lowers the probability of the chosen one."""
    clear, contested = judge_contest(kind, page(*clear_lines)), judge_contest(kind, page(*contested_lines))
    assert 1 / 3 <= contested.chosen < clear.chosen <= 1
    assert 0.5 < clear.present < 1


def test_contest_trusts_a_labelled_date_more_than_a_bare_one():
    """A date without a label may mean something else; without any candidate the probability is 0."""
    labelled, bare = (judge_contest("date", page(text)).present for text in ("Date: 25/12/2018", "valid 25/12/2018"))
    assert bare < 0.6 < labelled
    assert judge_contest("date", page("no date")).present == 0
    assert judge_contest("phone", page("Tel: 03-8060 4233")) is None


def test_contest_raises_the_presence_of_an_address_by_unexplained_lines():
    """Each unexplained line may be the address that no finder found."""
    explained, unexplained = (
        judge_contest("address", page("INN TRADING", *lines)) for lines in (["RECEIPT"], ["SRI RAMPAI", "PUCHONG"])
    )
    assert explained.present == 0
    assert 0.3 < unexplained.present < 0.6
    assert judge_contest("address", page("INN TRADING", "NO 5, JALAN BESAR")).present > 0.9
