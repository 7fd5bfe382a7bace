"""witness/texts.py: a text is found in spite of case, line breaks and misread letters, but not with another digit."""

import pytest

from extractors.validate.witness.texts import FoldedText

PAGE = "TEO HENG STATIONERY G BOOKS\nNO. 53, JALAN BESAR,\n45600 BATANG\nReceipt CS1801/27224\nTotal 112.50 EA"


def find_parts(text, page=PAGE):
    return [page[place.start : place.end] for place in FoldedText(page).find(text)]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("teo heng", "TEO HENG"),
        ("Téo-Heng", "TEO HENG"),
        ("TEO HENG STATIONERY & BOOKS", "TEO HENG STATIONERY G BOOKS"),
        ("No. 53, Jalan Besar, 45600 Batang", "NO. 53, JALAN BESAR,\n45600 BATANG"),
        ("JALANBESAR", "JALAN BESAR"),
        ("CS1801/27224", "CS1801/27224"),
        ("C51801/27224", "CS1801/27224"),
        ("STATI0NERY", "STATIONERY"),
        ("ea", "EA"),
    ],
)
def test_text_is_found_in_spite_of_case_accents_and_misread_letters(text, printed):
    """Spaces, line breaks and punctuation are ignored, too."""
    assert find_parts(text) == [printed]


@pytest.mark.parametrize(
    "text", ["CS1801/27234", "NO. 58, JALAN BESAR", "45600 BATANQ 7", "12.50", "53 JALAN BESAR 4560"]
)
def test_text_with_another_digit_is_not_found(text):
    assert find_parts(text) == []


@pytest.mark.parametrize("text", ["TE", "TEO HENG STATIONERS & BOOKSHOP LIMITED", "...", "OTA"])
def test_short_part_of_a_word_and_different_text_are_not_found(text):
    assert find_parts(text) == []


def test_separate_word_is_found_before_a_part_of_a_word():
    assert [place.start for place in FoldedText("GRANDTOTAL TOTAL").find("total")] == [11, 5]


def test_long_text_is_found_by_its_parts():
    """A paragraph with a misread line is found from its first to its last part."""
    words = " ".join(f"word{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10]}" for number in range(60))
    assert find_parts(words, f"Intro\n{words}\nEnd") == [words]
    assert find_parts(words, "Intro\nsomething else\nEnd") == []
