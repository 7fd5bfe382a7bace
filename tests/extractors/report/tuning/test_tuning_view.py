"""The result of a tuning, on the terminal, as JSON and as a page."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest

from extractors.report.tuning import CertificateView, ChoiceView, ConfidenceView, RungView, Share, TuningView
from extractors.report.tuning.page import render
from extractors.report.tuning.review_costs import DollarsView, ReviewCost, ReviewPrices

HOSTILE = "<script>alert(1)</script>"
CHOICES = [
    ChoiceView((1601,), None, 160_100, 0.25, Decimal("0.05"), {"total": 0.9}, 0.9, on_front=True),
    ChoiceView((1601, 6404), 0.8125, 320_000, 0.5, Decimal("0.1"), {"total": 1.0}, 1.0, on_front=True),
]
ALL = ConfidenceView(
    41, 300, 0.87, (0.8, 0.93), 0.04, "confidence ranks", [(0.5, 0.01), (1.0, 0.13)], [(0.9, 0.86, 0.7, 0.95, 40)]
)
VIEW = TuningView(
    run="20261130T021500Z-3f9a",
    schema="receipt",
    model="maker/model",
    images=100,
    fields=["total"],
    rungs=[RungView("up to 1,601 tokens a page", 1601.0, Decimal("0.0005"), {"total": Share(90, 100, 0.83, 0.94)})],
    choices=CHOICES,
    recommended=CHOICES[1],
    certificate=CertificateView(0.95, 100, 0, 0.97, threshold=0.99, share=0.62, bound=0.9527),
    confidence={"total": replace(ALL, auc=None), "all": ALL},
    ablation={"least": 0.81, "all": 0.87},
    unlooked=["currency"],
    held_out={"image tokens": "51.0% of faithful's"},
)


def test_terminal_shows_every_figure_within_80_columns():
    text = "\n".join(VIEW.lines())
    assert max(map(len, text.splitlines())) <= 80
    for figure in ("90 of 100", "25.0%", "1,601 > 6,404  below 0.812", "62.0%", "95.27%", "0.810", "0.870", "currency"):
        assert figure in text


def test_json_has_the_documented_names():
    document = VIEW.as_json()
    assert list(document) == [
        "images",
        "fields",
        "choices",
        "recommended",
        "certificate",
        "confidence",
        "unlooked",
        "applied",
    ]
    assert document["recommended"] in document["choices"]
    assert list(document["certificate"]) == ["target", "threshold", "share", "bound", "labels", "needed"]
    assert document["confidence"]["all"] == {"errors": 41, "auc": 0.87, "ece": 0.04}


def test_dollars_are_in_table_json_and_page_if_prices_are_given():
    """They add dollars to each choice, the review threshold, and a chart."""
    review = ReviewCost(100, 0.1, ReviewPrices(0.5, 20.0), 12, 1, 1.025, 0.9312)
    choices = [
        replace(CHOICES[0], review=review._replace(reviewed=40)),
        replace(CHOICES[1], review=review),
    ]
    curve = [(1.0, 0.501), (0.12, 0.266), (0.0, 0.9)]
    dollars = DollarsView(review, review._replace(review_below=None), curve)
    view = replace(VIEW, choices=choices, recommended=choices[1], dollars=dollars)
    text = "\n".join(view.lines())
    assert max(map(len, text.splitlines())) <= 80
    figures = (
        "$0.50 a review and $20.00 a wrong row",
        "review below 0.9312: 12 of 100",
        "$0.266 a document",
        "$0.269 a right",
    )
    assert [figure for figure in figures if figure not in text] == []
    assert text.index("$0.266   50.0%") < text.index("$0.406   25.0%")
    document = view.as_json()
    assert (
        document["recommended"]["review"]["usd_a_document"] == document["dollars"]["chosen"]["usd_a_document"] == 0.266
    )
    page = render(view)
    assert (page.count("<figure"), "dollars a document" in page, "$0.406" in page) == (5, True, True)


def test_page_loads_no_resource_and_escapes_all_names():
    """Field names in charts are escaped too."""
    hostile = replace(VIEW, schema=HOSTILE, model=HOSTILE, unlooked=[HOSTILE], warnings=[HOSTILE])
    text = render(hostile)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 5
    assert "default-src &#39;none&#39;" in text
    assert re.findall(r"(?:src|href)=\"(?!#|data:)", text) == []
    assert text.count("<figure") == 4


def test_page_without_the_extra_keeps_its_tables(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = render(VIEW)
    assert "tilewise[report]" in text
    assert ("<figure" in text, text.count("<table>")) == (False, 6)


@pytest.mark.parametrize(("ladder", "name"), [((0.25, 1.0), "25% > 100%"), ((1601, 3202), "1,601 > 3,202")])
def test_ladder_is_named_by_budgets_or_shares(ladder, name):
    assert replace(CHOICES[0], ladder=ladder).name == name
