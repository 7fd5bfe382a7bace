"""page and `extractors.report.page.documents`: the report of a run, written from its tables."""

import html
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from extractors.core.errors import ConfigurationError
from extractors.report.page import write_report
from extractors.report.page.documents import MOST_REPLY, TextAllowance, link_to, read_answer


class Elements(HTMLParser):
    """The elements of a page with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def of(self, tag):
        """The attributes of all elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(report):
    """The HTML of the page."""
    return Path(report).read_text(encoding="utf-8")


def test_page_escapes_names_values_and_replies(text):
    """Names, model output and manifest rows add no element, no attribute and no template code."""
    page = Elements(text)
    assert len(page.of("script")) == 1
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.elements for name in attributes)
    assert {urlsplit(image["src"]).scheme for image in page.of("img")} == {"data"}
    assert {urlsplit(link["href"]).scheme for link in page.of("a")} == {"", "file"}
    assert not page.of("b")
    assert text.count("alert(") > 20
    assert html.unescape(text).count("{{ 7 * 7 }}") > 20


def test_cards_are_sorted_and_flagged(published_run, text):
    """The failure comes first, then the document on two rungs, then the others by name."""
    cards = Elements(text).of("article")
    failed_name, climbed_name, copied_name, *_ = published_run.documents
    assert [(card["data-d"], card["data-f"]) for card in cards[:2]] == [
        (failed_name, "failed"),
        (climbed_name, "climbed"),
    ]
    assert {card["data-d"]: card["data-f"] for card in cards}[copied_name] == "copied"
    assert [card["data-d"] for card in cards[2:]] == sorted(set(published_run.documents) - {failed_name, climbed_name})


def test_field_names_have_the_confidence_as_an_attribute(text):
    """The cell contains the field's name only, because the script of the review reads it."""
    cells = [cell for cell in Elements(text).of("th") if "data-c" in cell]
    assert [cell["data-c"] for cell in cells] == ["0.93"]
    assert '<th data-c="0.93" title="confidence">company</th>' in text


def test_documents_have_a_picture_or_a_reason(published_run, text):
    """Five documents have a picture, and one file is missing."""
    assert len(Elements(text).of("img")) == 5
    assert text.count("the file is missing now") == 1


def test_links_have_the_path_of_the_file(published_run, text):
    """Characters that have a meaning in a URL are escaped."""
    links = [link["href"] for link in Elements(text).of("a") if link["href"].startswith("file:")]
    assert sorted(unquote(urlsplit(link).path) for link in links) == sorted(published_run.documents)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("/in/a.pdf#page=3", "file:///in/a.pdf#page=3"),
        ("/in/a b#1?.png", "file:///in/a%20b%231%3F.png"),
        ("https://host/a.png", "https://host/a.png"),
        ("s3://bucket/a.png", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_only_files_and_web_addresses_are_links(name, link):
    assert link_to(name) == link


def test_replies_are_cut_after_the_total_is_used_up():
    allowance = TextAllowance(left=1000)
    assert allowance.cut("x" * 900) == ("x" * 900, False)
    assert allowance.cut("x" * 900) == ("x" * 300, True)
    assert TextAllowance().cut("x" * (MOST_REPLY + 1)) == ("x" * MOST_REPLY, True)


def test_read_answer_returns_the_content_of_a_reply():
    """A body without a content is returned unchanged."""
    assert read_answer('{"choices": [{"message": {"content": "{}"}}]}') == "{}"
    assert read_answer("<html>") == "<html>"


def test_page_is_the_same_each_time(published_run, text):
    assert Path(write_report(published_run.output)).read_text(encoding="utf-8") == text


def test_unpublished_run_is_refused(published_run):
    with pytest.raises(ConfigurationError, match="is not published"):
        write_report(published_run.output, "20261120T021500Z-0000")
