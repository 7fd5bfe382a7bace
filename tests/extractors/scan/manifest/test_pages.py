"""scan/manifest/pages.py: selections of pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.scan.manifest.pages import MAX_PAGES, parse_pages


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3", (3,)), ("1-3,7", (1, 2, 3, 7)), (" 2 , 1 ", (2, 1)), ("1-2,2-3", (1, 2, 3)), ("4.0", (4,))],
)
def test_parse_pages_keeps_order_and_drops_repetitions(text, numbers):
    assert parse_pages(text) == numbers


@given(numbers=st.lists(st.integers(1, 10**6), min_size=1, max_size=20, unique=True))
def test_parse_pages_reads_any_list_of_numbers(numbers):
    assert parse_pages(",".join(map(str, numbers))) == tuple(numbers)


@pytest.mark.parametrize("text", ["", "0", "3-1", "1-", "-1", "a", "1;2", "٣", f"1-{MAX_PAGES + 1}"])
def test_parse_pages_refuses_other_text(text):
    """A typing error does not select nothing."""
    with pytest.raises(ValueError, match=r"use 3 or 1-3,7|a range"):
        parse_pages(text)
