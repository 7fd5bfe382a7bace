"""Texts in a text: folded, over line breaks, with misread letters, and never with another digit."""

import pytest

from extractors.validate.witness.texts import FoldedText

PAGE = "TEO HENG STATIONERY G BOOKS\nNO. 53, JALAN BESAR,\n45600 BATANG\nReceipt CS1801/27224\nTotal 112.50 EA"


def parts(wanted, page=PAGE):
    return [page[place.start : place.end] for place in FoldedText(page).find(wanted)]


@pytest.mark.parametrize(
    ("wanted", "printed"),
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
def test_text_is_found_folded(wanted, printed):
    """Case, accents, spaces, line breaks and punctuation do not count; a few letters may be misread."""
    assert parts(wanted) == [printed]


@pytest.mark.parametrize(
    "wanted", ["CS1801/27234", "NO. 58, JALAN BESAR", "45600 BATANQ 7", "12.50", "53 JALAN BESAR 4560"]
)
def test_text_with_another_digit_is_not_found(wanted):
    assert parts(wanted) == []


@pytest.mark.parametrize("wanted", ["TE", "TEO HENG STATIONERS & BOOKSHOP LIMITED", "...", "OTA"])
def test_short_part_of_a_word_and_other_text_are_not_found(wanted):
    assert parts(wanted) == []


def test_words_of_their_own_come_first():
    """Of two places the one that no letter touches."""
    assert [place.start for place in FoldedText("GRANDTOTAL TOTAL").find("total")] == [11, 5]


def test_long_text_is_found_by_its_parts():
    """A paragraph of which a line was misread stands from its first to its last part."""
    words = " ".join(f"word{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10]}" for number in range(60))
    assert parts(words, f"Intro\n{words}\nEnd") == [words]
    assert parts(words, "Intro\nsomething else\nEnd") == []
