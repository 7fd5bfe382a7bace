"""page: the HTML of a run, as a reader's browser has it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from extractors.report.page import FailureExample, FailureKind, FieldStats, Page

BEGAN = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
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
    "started_at": BEGAN,
    "finished_at": BEGAN + timedelta(seconds=200),
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
    """What a browser would see: the tags, with their attributes, and the text between them."""

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
        """All words, with single spaces between them."""
        return " ".join(" ".join(self.words).split())


def page(run=None, **parts):
    """A page of a run that differs from the usual one in this."""
    empty = dict.fromkeys(("pages", "prompt_tokens", "calls", "failures", "examples", "fields"), ()) | {"files": {}}
    return Page(RUN | (run or {}), **empty | parts)


def test_the_page_says_what_became_of_the_run():
    """Its documents, its money, how long it took, and nothing of tables that are empty."""
    text = Reader(page().html()).text
    assert "/in → receipt" in text
    assert "started 2026-11-20 02:15:00 UTC, took 3 min 20 s" in text
    assert "993 accepted" in text
    assert "of 1,010 found" in text
    assert "predicted, low to high $0.500000 to $4.00" in text
    assert "paid $1.25" in text
    assert "Failures" not in text


def test_a_run_that_was_stopped_says_why_and_warnings_stand_first():
    """Before any count."""
    text = Reader(page({"error": "the key is refused", "warnings": ["an old price"]}).html()).text
    assert text.index("stopped: the key is refused") < text.index("an old price") < text.index("Documents")


def test_what_others_wrote_is_text():
    """A file's name, a model's value, a message: no tag and no attribute comes of it."""
    plain, evil = page(), page(
        {"source": EVIL, "model": EVIL, "warnings": [EVIL]},
        failures=[FailureKind("bill", "unreadable", final=True, documents=1)],
        examples=[FailureExample(EVIL, "bill", "unreadable", EVIL)],
        fields=[FieldStats(EVIL, 1, 0, 1, EVIL, EVIL)],
        files={"results": [EVIL]},
    )  # fmt: skip
    seen = Reader(evil.html())
    assert seen.tags <= Reader(plain.html()).tags | {"code", "th", "p", "br"}
    assert "onload" not in seen.attributes
    assert seen.text.count("alert('1')") >= 9


def test_a_page_loads_nothing():
    """No picture, script or style from elsewhere; the browser is told so as well."""
    seen = Reader(page().html())
    assert not seen.tags & {"img", "script", "link", "iframe", "a"}
    assert not seen.attributes & {"src", "href"}
    assert "default-src 'none'" in page().html()


def test_money_stands_on_one_scale():
    """In percent of the largest amount."""
    assert [(mark.name, mark.place) for mark in page().marks] == [
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
def test_without_amounts_there_is_no_scale(money):
    """A price that nobody knows is said to be unknown, and is not 0."""
    shown = page(money)
    assert shown.marks == []
    assert ("paid unknown" if money["cost_usd"] is None else "paid $0.00") in Reader(shown.html()).text


@pytest.mark.parametrize(("listed", "said"), [(2, "First 2:"), (3, "All:")])
def test_a_list_that_is_cut_says_so(listed, said):
    """Fewer cases than failures."""
    cases = [FailureExample(f"/in/{number}", "call", "timeout", "no answer") for number in range(listed)]
    assert (
        said
        in Reader(page(failures=[FailureKind("call", "timeout", final=False, documents=3)], examples=cases).html()).text
    )
