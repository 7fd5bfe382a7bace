"""page.render: the HTML of a run, as a browser parses it."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from extractors.report.page.charts import Chart
from extractors.report.page.render import Page
from extractors.report.page.tables import FailureKind, FieldStats, SummaryTables

STARTED_AT = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
RUN = {
    "run": "20261120T021500Z-3f9a",
    "flow": "run",
    "schema": "receipt",
    "source": "/in",
    "model": "maker/model",
    "endpoint": "https://api.example/v1",
    "policy": "balanced",
    "bill_rule": "table",
    "output": "/out",
    "job": "{}",
    "status": "completed",
    "started_at": STARTED_AT,
    "finished_at": STARTED_AT + timedelta(seconds=200),
    "found": 1010,
    "skipped": 10,
    "duplicates": 0,
    "rejected": 2,
    "accepted": 993,
    "failed": 5,
    "remaining": 0,
    "estimated_low_usd": Decimal("0.50"),
    "estimated_expected_usd": Decimal("1.00"),
    "estimated_high_usd": Decimal("4.00"),
    "cost_usd": Decimal("1.25"),
    "cost_wasted_usd": Decimal("0.05"),
    "cost_unknown_usd": Decimal(0),
    "warnings": [],
    "error": None,
    "approved_by": None,
    "prefect_flow_run_id": None,
    "version": "0.1.0",
}
EVIL = "<script>alert('1')</script>\" onload=\"x"


class Reader(HTMLParser):
    """The tags, attributes and text of a page, as a browser parses them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        """The text with runs of spaces replaced by one space."""
        return " ".join(" ".join(self.words).split())


def build_page(run=None, **parts):
    """A page of the default run with these changes."""
    files = parts.pop("files", {})
    return Page(RUN | (run or {}), SummaryTables(**parts), files)


def test_page_shows_counts_costs_and_duration():
    """Empty tables are not shown."""
    text = Reader(build_page().html()).text
    assert "in → receipt" in text
    assert "source /in" in text
    assert "started 2026-11-20 02:15:00 UTC, took 3 min 20 s" in text
    assert "993 accepted" in text
    assert "of 1,010 found" in text
    assert "predicted, low to high $0.50 to $4.00" in text
    assert "paid $1.25" in text
    assert "Failures" not in text


def test_page_shows_error_and_warnings_before_the_counts():
    text = Reader(build_page({"error": "the key is refused", "warnings": ["an old price"]}).html()).text
    assert text.index("stopped: the key is refused") < text.index("an old price") < text.index("Documents")


def test_page_escapes_names_values_and_messages():
    """They add no tag and no attribute."""
    plain, evil = build_page(), build_page(
        {"source": EVIL, "model": EVIL, "warnings": [EVIL]},
        failures=[FailureKind("bill", "unreadable", final=True, documents=1, files=((EVIL, EVIL),))],
        fields=[FieldStats(EVIL, 1, 0, 1, EVIL, EVIL)],
        files={"results": [EVIL]},
    )  # fmt: skip
    reader = Reader(evil.html())
    assert reader.tags <= Reader(plain.html()).tags | {"code", "th", "p", "br", "details", "summary"}
    assert "onload" not in reader.attributes
    assert reader.text.count("alert('1')") >= 9


def test_page_loads_no_resource():
    """There is no external image, script or style, and the content security policy forbids them."""
    html = build_page().html()
    assert not Reader(html).tags & {"img", "iframe"}
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", html)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src &#39;none&#39;;")
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{rule} &#39;sha256-{digest}&#39;;" in policy
    assert "unsafe" not in policy


def test_marks_are_percentages_of_the_largest_amount():
    assert [(mark.name, mark.place) for mark in build_page().marks] == [
        ("low", 12.5),
        ("expected", 25.0),
        ("paid", 31.25),
        ("high", 100.0),
    ]


@pytest.mark.parametrize(
    "money",
    [
        dict.fromkeys(("estimated_low_usd", "estimated_expected_usd", "estimated_high_usd", "cost_usd"), amount)
        for amount in (None, Decimal(0))
    ],
    ids=["unknown", "free"],
)
def test_page_without_amounts_has_no_marks(money):
    """An unknown cost is shown as unknown, and not as 0."""
    page = build_page(money)
    assert page.marks == []
    assert ("paid unknown" if money["cost_usd"] is None else "paid $0") in Reader(page.html()).text


@pytest.mark.parametrize(("count", "text"), [(2, "first 2 of 3 files"), (3, ": 3 files")])
def test_page_says_how_many_failed_files_it_lists(count, text):
    """It may list fewer files than there are failures."""
    files = tuple((f"/in/{number}", "no answer") for number in range(count))
    html = build_page(failures=[FailureKind("call", "timeout", final=False, documents=3, files=files)]).html()
    assert text in Reader(html).text


def test_page_has_charts_or_the_install_command():
    """A run without calls has neither."""
    page = build_page()
    html = replace(page, charts=[Chart("Latency", "of calls", Markup("<svg><rect/></svg>"))]).html()
    assert "<svg><rect/></svg>" in html
    assert "Charts" not in Reader(page.html()).text
    assert "pip install 'tilewise[report]'" in Reader(replace(page, charts=None).html()).text
