"""page.evidence: what the page shows of where values stand."""

import re
from decimal import Decimal

import polars as pl

from extractors.core.evidence import MISSING_ROW
from extractors.record.tables import columns
from extractors.report.page.documents import DocumentRows, _make_card
from extractors.report.page.evidence import read_evidence
from extractors.report.page.pictures import Picture
from extractors.report.page.render import _render_cards, make_environment

BOX = {"x": 5, "y": 6, "width": 70, "height": 8}


def cell(field, page=None, confidence=None, **box):
    return dict.fromkeys(columns.EVIDENCE) | {"field": field, "page": page, "confidence": confidence} | box


EVIDENCE = [
    cell("company", 1, 0.9, **BOX),
    cell("total", 0),
    cell("items"),
    cell("items[0].amount", 1, **BOX),
    cell("items[1].amount", 0),
    cell(f"items{MISSING_ROW}", 1, **BOX),
    cell("note", 3, **BOX),
]


def test_evidence_of_a_list_is_that_of_its_values():
    """Boxes of the first page, which is shown; what stands nowhere by its row, counted from 1; missing rows."""
    seen = read_evidence(EVIDENCE)
    assert (seen["company"].confidence, seen["company"].boxes, seen["company"].note) == (0.9, "5 6 70 8", "")
    assert (seen["total"].boxes, seen["total"].note, seen["total"].unseen) == ("", "stands on no page", 1)
    assert (seen["items"].boxes, seen["items"].missing_rows) == ("5 6 70 8", "5 6 70 8")
    assert (seen["items"].unseen, seen["items"].missing) == (1, 1)
    assert "row 2 amount" in seen["items"].note
    assert (seen["note"].boxes, seen["note"].note) == ("", "on page 3")


def test_many_values_that_stand_nowhere_are_named_in_part():
    seen = read_evidence([cell(f"items[{number}]", 0) for number in range(500)])["items"]
    assert (seen.unseen, "and 488 more" in seen.note, len(seen.note) < 200) == (500, True, True)


def test_row_without_a_cell_has_no_evidence():
    assert read_evidence(None) == {}


def test_card_lists_what_stands_nowhere_first():
    """With the size in which boxes are given, for the script that draws them."""
    result = {"company": "Inn", "total": Decimal("8.20"), "_evidence": EVIDENCE, "_document": "a"}
    types = {"company": pl.String(), "total": pl.Decimal(38, 6)}
    page = dict.fromkeys(columns.IMAGES) | {"image": "/a.jpg", "width": 300, "height": 200}
    rows = DocumentRows({"a": result}, types, {}, {"a": [page]}, {}, {})
    flags = {"failed": False, "climbed": False, "copied_from": None, "confidence": 0.9, "unseen": True, "missing": True}
    card = _make_card({"document": "a"} | flags, rows, 0.8)
    assert ([value.field for value in card.values], card.flags) == (["total", "company"], ("unseen", "missing"))
    (html,) = _render_cards(make_environment(), [(card, Picture("data:,", 30, 20))])
    assert re.findall(r'data-[sb]="([^"]*)"', html) == ["300 200", "5 6 70 8"]
