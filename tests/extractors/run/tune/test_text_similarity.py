"""text_similarity.py: which texts count as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.run.tune.text_similarity import fold_text, is_same_text, text_similarity

SAME = [
    ("OLD TOWN KOPITAM SDN BHD", "Old Town Kopitiam Sdn. Bhd."),  # one letter of twenty
    ('Café "Zoë" GmbH', "CAFE ZOE GMBH"),
    ("12, JALAN TAMPOI 7/4,KAWASAN", "12 Jalan Tampoi 7/4, Kawasan"),
    ("Straße", "STRASSE"),
    ("１２ＡＢ", "12ab"),  # noqa: RUF001 - full width, as printed
    ("***", "* * *"),
]
OTHER = [
    ("ABC STORE", "ABD STORE"),
    (
        "12, Jalan Tampoi 7/4, Kawasan Perindustrian",
        "12, Jalan Tampoi 7/5, Kawasan Perindustrian",
    ),  # one digit differs
    ("OLD TOWN KOPITAM", "OLD TOWN KOPITAM SDN BHD"),
    ("カ", "ガ"),  # the mark belongs to the letter
    ("***", "+"),
]


def is_same(read, true):
    return is_same_text(read, true, text_similarity(read, true))


@pytest.mark.parametrize(("read", "true"), SAME)
def test_texts_that_differ_in_case_punctuation_width_or_one_letter_are_the_same(read, true):
    assert is_same(read, true)


@pytest.mark.parametrize(("read", "true"), OTHER)
def test_texts_that_differ_in_a_digit_a_word_or_a_short_text_are_different(read, true):
    assert not is_same(read, true)


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_one_for_equal_folds_only(read, true):
    assert text_similarity(read, true) == text_similarity(true, read)
    assert 0 <= text_similarity(read, true) <= 1
    assert (text_similarity(read, true) == 1) == (fold_text(read) == fold_text(true))


@given(st.text())
def test_fold_text_is_idempotent(text):
    assert fold_text(fold_text(text)) == fold_text(text)


@given(st.text())
def test_fold_text_ignores_case_and_outer_whitespace(text):
    assert fold_text(f" {text}\n") == fold_text(text)
