"""Notations: a number, date or text is seen in any usual notation; a value with another digit or day is not."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import create_model
from support.page_lines import page

from extractors.core.evidence import NOWHERE
from extractors.validate.witness.document import find_sightings

MODELS = {kind: create_model("Value", value=(kind, ...)) for kind in (Decimal, int, date, str)}
NO_BREAK, NARROW, FIGURE = "\u00a0", "\u202f", "\u2007"
MINUS, HYPHEN = "\u2212", "\u2010"
ARABIC_POINT, ARABIC_COMMA = "\u066b", "\u066c"
WIDE_POINT, WIDE_COMMA, WIDE_SLASH = "\uff0e", "\uff0c", "\uff0f"
SCRIPTS = {
    "wide": "\uff10",
    "Arabic": "\u0660",
    "Persian": "\u06f0",
    "Hindi": "\u0966",
    "Thai": "\u0e50",
}  # the digit 0 of each script


def is_seen(kind, value, text):
    """Whether the value is seen on a page with this text."""
    return find_sightings(MODELS[kind](value=value), [page(f"TOTAL {text} END")]).values[0].page != NOWHERE


def group(whole, mark):
    """The digits in groups of three."""
    return f"{whole:,}".replace(",", mark)


def write_in(script, text):
    """The text with the digits of this script."""
    return text.translate({ord("0") + digit: ord(SCRIPTS[script]) + digit for digit in range(10)})


AMOUNTS = {
    "plain": lambda whole, cents: f"{whole}.{cents}",
    "comma": lambda whole, cents: f"{group(whole, ',')}.{cents}",
    "point": lambda whole, cents: f"{group(whole, '.')},{cents}",
    "space": lambda whole, cents: f"{group(whole, ' ')},{cents}",
    "no-break space": lambda whole, cents: f"{group(whole, NO_BREAK)},{cents}",
    "narrow space": lambda whole, cents: f"{group(whole, NARROW)},{cents}",
    "figure space": lambda whole, cents: f"{group(whole, FIGURE)}.{cents}",
    "apostrophe": lambda whole, cents: f"{group(whole, chr(39))}.{cents}",
    "quote": lambda whole, cents: f"{group(whole, chr(0x2019))}.{cents}",
    "opening quote": lambda whole, cents: f"{group(whole, chr(0x2018))}.{cents}",
    "acute": lambda whole, cents: f"{group(whole, chr(0xB4))}.{cents}",
    "middle dot": lambda whole, cents: f"{whole}{chr(0xB7)}{cents}",
    "minus": lambda whole, cents: f"{MINUS}{whole}.{cents}",
    "minus behind": lambda whole, cents: f"{group(whole, ',')}.{cents}-",
    "wide minus behind": lambda whole, cents: f"{whole},{cents}{MINUS}",
    "minus apart": lambda whole, cents: f"{whole}.{cents} {HYPHEN}",
    "brackets": lambda whole, cents: f"({group(whole, ',')}.{cents})",
    "currency": lambda whole, cents: f"USD{group(whole, ',')}.{cents}",
    "stars": lambda whole, cents: f"**{whole}.{cents}**",
    "wide": lambda whole, cents: write_in("wide", f"{group(whole, WIDE_COMMA)}{WIDE_POINT}{cents}"),
    "Arabic": lambda whole, cents: write_in("Arabic", f"{group(whole, ARABIC_COMMA)}{ARABIC_POINT}{cents}"),
    "Persian": lambda whole, cents: write_in("Persian", f"{group(whole, ',')}.{cents}"),
    "Hindi": lambda whole, cents: write_in("Hindi", f"{whole}.{cents}"),
    "Thai": lambda whole, cents: write_in("Thai", f"{group(whole, ',')}.{cents}"),
}
WHOLES = {
    "plain": str,
    "comma": lambda whole: group(whole, ","),
    "no-break space": lambda whole: group(whole, NO_BREAK),
    "dash": lambda whole: f"{whole}.-",
    "minus behind": lambda whole: f"{whole}-",
    "yen": lambda whole: f"\u5408\u8a08{group(whole, ',')}\u5186",
    "won": lambda whole: f"{group(whole, ',')}\uc6d0",
    "pieces": lambda whole: f"{whole}\u500b",
    "energy": lambda whole: f"{whole}kWh",
    "Arabic": lambda whole: write_in("Arabic", group(whole, ARABIC_COMMA)),
}
MONTHS = {
    "English": "January February March April May June July August September October November December",
    "German": "Januar Februar M\u00e4rz April Mai Juni Juli August September Oktober November Dezember",
    "French": "janvier f\u00e9vrier mars avril mai juin juillet ao\u00fbt septembre octobre novembre d\u00e9cembre",
    "Polish": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia wrze\u015bnia pa\u017adziernika listopada grudnia",
    "Czech": "ledna \u00fanora b\u0159ezna dubna kv\u011btna \u010dervna \u010dervence srpna z\u00e1\u0159\u00ed \u0159\u00edjna listopadu prosince",
    "Turkish": "Ocak \u015eubat Mart Nisan May\u0131s Haziran Temmuz A\u011fustos Eyl\u00fcl Ekim Kas\u0131m Aral\u0131k",
    "Malay": "Januari Februari Mac April Mei Jun Julai Ogos September Oktober November Disember",
    "Indonesian": "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember",
    "Russian": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "Finnish": "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kes\u00e4kuuta hein\u00e4kuuta elokuuta syyskuuta lokakuuta marraskuuta joulukuuta",
}  # fmt: skip


def name_month(language, day):
    return MONTHS[language].split()[day.month - 1]


DATES = {
    "two lines": lambda day: f"{day.day:02}/{day.month:02}/\n{day.year}",
    "three lines": lambda day: f"{day.day}\n{name_month('English', day)}\n{day.year}",
    "no-break space": lambda day: f"{day.day}{NO_BREAK}{name_month('English', day)}{NO_BREAK}{day.year}",
    "hyphen": lambda day: f"{day.day:02}{HYPHEN}{day.month:02}{HYPHEN}{day.year}",
    "wide": lambda day: write_in("wide", f"{day.year}{WIDE_SLASH}{day.month:02}{WIDE_SLASH}{day.day:02}"),
    "Japanese": lambda day: write_in("wide", f"{day.year}\u5e74{day.month}\u6708{day.day}\u65e5"),
    "Korean": lambda day: f"{day.year}\ub144 {day.month}\uc6d4 {day.day}\uc77c",
    "Arabic": lambda day: write_in("Arabic", f"{day.day:02}/{day.month:02}/{day.year}"),
    "Hungarian": lambda day: f"{day.year}. {day.month:02}. {day.day:02}.",
} | {
    f"{name}, {form}": lambda day, name=name, form=form: form.format(day=day.day, name=name_month(name, day), year=day.year)
    for name in MONTHS
    for form in ("{day} {name} {year}", "{day}. {name} {year}")
}  # fmt: skip
whole_numbers = st.integers(10, 99) | st.integers(100, 99_999) | st.integers(10**5, 10**8)


def change_digit(text, place, digit):
    """The text with one of its digits changed."""
    places = [at for at, character in enumerate(text) if character.isdigit()]
    at = places[place % len(places)]
    assume(text[at] != str(digit))
    return text[:at] + str(digit) + text[at + 1 :]


@pytest.mark.parametrize("notation", AMOUNTS)
@settings(max_examples=8)
@given(whole_numbers, st.integers(0, 99), st.integers(0, 9), st.integers(1, 9))
def test_amount_is_seen_in_any_notation_and_another_amount_is_not(notation, whole, cents, place, digit):
    """Any separators, a minus on either side, and digits of any script; the amount may be a text, too."""
    printed, plain = AMOUNTS[notation](whole, f"{cents:02}"), f"{whole}.{cents:02}"
    assert is_seen(Decimal, Decimal(plain), printed)
    assert is_seen(Decimal, -Decimal(plain), printed)
    assert is_seen(str, plain, printed)
    assert is_seen(str, write_in("Arabic", plain.replace(".", ARABIC_POINT)), printed)
    assert not is_seen(Decimal, Decimal(change_digit(plain, place, digit)), printed)


@pytest.mark.parametrize("notation", WHOLES)
@settings(max_examples=8)
@given(whole_numbers, st.integers(0, 9), st.integers(1, 9))
def test_whole_number_is_seen_in_any_notation_and_another_number_is_not(notation, whole, place, digit):
    """A unit in a script without spaces may follow it directly."""
    printed = WHOLES[notation](whole)
    assert is_seen(int, whole, printed)
    assert not is_seen(int, int(change_digit(str(whole), place, digit)), printed)


@pytest.mark.parametrize("notation", DATES)
@settings(max_examples=8)
@given(st.dates(date(1990, 1, 1), date(2049, 12, 31)), st.sampled_from([1, -1, 10, 31, 365]))
def test_date_is_seen_in_any_notation_and_another_date_is_not(notation, day, step):
    """It may have month names of many languages, digits of any script, and line breaks."""
    printed, other = DATES[notation](day), day + timedelta(step)
    assume({other.day, other.month} != {day.day, day.month} or other.year != day.year)
    assert is_seen(date, day, printed)
    assert not is_seen(date, other, printed)


@pytest.mark.parametrize("text", ["2018\u5e741\u670829\u65e5", "\u7b2c29\u53f7", "29\uc77c", "AB29", "29B7"])
def test_part_of_a_date_or_code_is_not_seen_as_a_number(text):
    assert not is_seen(int, 29, text)


@settings(max_examples=25)
@given(st.lists(st.from_regex(r"[A-Z]{3,8}|[1-9][0-9]{2,5}", fullmatch=True), min_size=2, max_size=6), st.data())
def test_text_is_seen_across_a_line_break_but_not_with_another_digit(words, data):
    """The line may end between any two of its words."""
    at = data.draw(st.integers(1, len(words) - 1))
    printed = " ".join(words[:at]) + "\n" + " ".join(words[at:])
    text = " ".join(words)
    assert is_seen(str, text.title(), printed)
    if any(character.isdigit() for character in text):
        assert not is_seen(str, change_digit(text, data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))), printed)
