"""page: the whole report of a run, written from its tables: extractors.report.page.documents and all of the others."""

import html
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from extractors.core.errors import ConfigurationError
from extractors.report.page import write_report
from extractors.report.page.documents import MOST_REPLY, TextAllowance, link_to, read_answer


class Elements(HTMLParser):
    """The elements of a page, each with its attributes, in order."""

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
    """The page's HTML."""
    return Path(report).read_text(encoding="utf-8")


def test_what_others_wrote_stays_text(text):
    """Of an image, a model, a manifest or a file's name: no element, no attribute and no template comes of it."""
    page = Elements(text)
    assert len(page.of("script")) == 1
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.elements for name in attributes)
    assert {urlsplit(each["src"]).scheme for each in page.of("img")} == {"data"}
    assert {urlsplit(each["href"]).scheme for each in page.of("a")} == {"", "file"}
    assert not page.of("b")
    assert text.count("alert(") > 20
    assert html.unescape(text).count("{{ 7 * 7 }}") > 20


def test_cards_are_ordered_and_marked(published_run, text):
    """The failure first, then the document on two rungs, then the others by name."""
    cards = Elements(text).of("article")
    failed, climbed, copied, *_ = published_run.documents
    assert [(card["data-d"], card["data-f"]) for card in cards[:2]] == [(failed, "failed"), (climbed, "climbed")]
    assert {card["data-d"]: card["data-f"] for card in cards}[copied] == "copied"
    assert [card["data-d"] for card in cards[2:]] == sorted(set(published_run.documents) - {failed, climbed})


def test_values_have_their_confidence_beside_them(text):
    """Where it is known; the name of the field stays alone in its cell, where the review reads it."""
    known = [each for each in Elements(text).of("th") if "data-c" in each]
    assert [each["data-c"] for each in known] == ["0.93"]
    assert '<th data-c="0.93" title="confidence">company</th>' in text


def test_documents_have_a_picture_or_a_reason(published_run, text):
    """Five pictures, and one file that is missing."""
    assert len(Elements(text).of("img")) == 5
    assert text.count("the file is missing now") == 1


def test_links_open_the_very_file(published_run, text):
    """With everything in its name that a URL would take for something else."""
    links = [each["href"] for each in Elements(text).of("a") if each["href"].startswith("file:")]
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


def test_replies_are_cut_once_the_total_is_used_up():
    allowance = TextAllowance(left=1000)
    assert allowance.cut("x" * 900) == ("x" * 900, False)
    assert allowance.cut("x" * 900) == ("x" * 300, True)
    assert TextAllowance().cut("x" * (MOST_REPLY + 1)) == ("x" * MOST_REPLY, True)


def test_answers_are_read_from_bodies():
    """What is no answer is shown as it is."""
    assert read_answer('{"choices": [{"message": {"content": "{}"}}]}') == "{}"
    assert read_answer("<html>") == "<html>"


def test_a_page_is_the_same_each_time(published_run, text):
    assert Path(write_report(published_run.output)).read_text(encoding="utf-8") == text


def test_a_run_that_does_not_exist_has_no_page(published_run):
    with pytest.raises(ConfigurationError, match="is not published"):
        write_report(published_run.output, "20261120T021500Z-0000")
