"""page.evidence: the boxes and notes that the page shows for each field."""

import re
from decimal import Decimal

import polars as pl

from extractors.core.evidence import MISSING_ROW
from extractors.record.tables import columns
from extractors.report.page.documents import DocumentRows, _make_card
from extractors.report.page.evidence import read_evidence
from extractors.report.page.pictures import PictureView
from extractors.report.page.render import _render_cards, make_environment

BOX = {"x": 5, "y": 6, "width": 70, "height": 8}


def build_entry(field, page=None, confidence=None, **box):
    return dict.fromkeys(columns.EVIDENCE) | {"field": field, "page": page, "confidence": confidence} | box


EVIDENCE = [
    build_entry("company", 1, 0.9, **BOX),
    build_entry("total", 0),
    build_entry("items"),
    build_entry("items[0].amount", 1, **BOX),
    build_entry("items[1].amount", 0),
    build_entry(f"items{MISSING_ROW}", 1, **BOX),
    build_entry("note", 3, **BOX),
]


def test_evidence_of_a_list_combines_its_values():
    """Boxes are of the first page only; unseen values are named by row, counted from 1; missing rows are marked."""
    evidence = read_evidence(EVIDENCE)
    assert (evidence["company"].confidence, evidence["company"].boxes, evidence["company"].note) == (
        0.9,
        "5 6 70 8",
        "",
    )
    assert (evidence["total"].boxes, evidence["total"].note, evidence["total"].unseen) == ("", "stands on no page", 1)
    assert (evidence["items"].boxes, evidence["items"].missing_rows) == ("5 6 70 8", "5 6 70 8")
    assert (evidence["items"].unseen, evidence["items"].missing) == (1, 1)
    assert "row 2 amount" in evidence["items"].note
    assert (evidence["note"].boxes, evidence["note"].note) == ("", "on page 3")


def test_note_names_12_unseen_values_and_counts_the_others():
    evidence = read_evidence([build_entry(f"items[{number}]", 0) for number in range(500)])["items"]
    assert (evidence.unseen, "and 488 more" in evidence.note, len(evidence.note) < 200) == (500, True, True)


def test_null_cell_has_no_evidence():
    assert read_evidence(None) == {}


def test_card_lists_unseen_values_first():
    """It has the size of the image to which the boxes refer."""
    result = {"company": "Inn", "total": Decimal("8.20"), "_evidence": EVIDENCE, "_document": "a"}
    types = {"company": pl.String(), "total": pl.Decimal(38, 6)}
    page = dict.fromkeys(columns.IMAGES) | {"image": "/a.jpg", "width": 300, "height": 200}
    rows = DocumentRows({"a": result}, types, {}, {"a": [page]}, {}, {})
    flags = {"failed": False, "climbed": False, "copied_from": None, "confidence": 0.9, "unseen": True, "missing": True}
    card = _make_card({"document": "a"} | flags, rows, 0.8)
    assert ([value.field for value in card.values], card.flags) == (["total", "company"], ("unseen", "missing"))
    (html,) = _render_cards(make_environment(), [(card, PictureView("data:,", 30, 20))])
    assert re.findall(r'data-[sb]="([^"]*)"', html) == ["300 200", "5 6 70 8"]
