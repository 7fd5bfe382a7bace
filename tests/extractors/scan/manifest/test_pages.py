"""scan/manifest/pages.py: choices of pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.scan.manifest.pages import MAX_PAGES, parse_pages


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3", (3,)), ("1-3,7", (1, 2, 3, 7)), (" 2 , 1 ", (2, 1)), ("1-2,2-3", (1, 2, 3)), ("4.0", (4,))],
)
def test_parse_pages(text, numbers):
    """In their order, each once."""
    assert parse_pages(text) == numbers


@given(numbers=st.lists(st.integers(1, 10**6), min_size=1, max_size=20, unique=True))
def test_listed_pages_are_chosen(numbers):
    """Any list of different pages is read as it is written."""
    assert parse_pages(",".join(map(str, numbers))) == tuple(numbers)


@pytest.mark.parametrize("text", ["", "0", "3-1", "1-", "-1", "a", "1;2", "٣", f"1-{MAX_PAGES + 1}"])
def test_other_text_is_refused(text):
    """A typing error is no empty choice."""
    with pytest.raises(ValueError, match=r"use 3 or 1-3,7|a range"):
        parse_pages(text)
