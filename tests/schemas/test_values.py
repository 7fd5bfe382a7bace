"""Dates, amounts, quantities, currencies and text: what is read, and what is refused."""
# ruff: noqa: RUF001  # full-width digits and typographic signs are what is read here

from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas._amounts import CODES, SYMBOLS, read_amount, read_quantity
from schemas._dates import plausible, read_date
from schemas._values import Amount, Cell, Currency, Day, Document, Many, Quantity, Text, Words

TODAY = date(2026, 11, 20)
day = TypeAdapter(Day)
amount = TypeAdapter(Amount)
quantity = TypeAdapter(Quantity)
currency = TypeAdapter(Currency)
text = TypeAdapter(Text)
READERS = [day, amount, quantity, currency, text]

CHRISTMAS = [
    "25/12/2018", "25/12/18", "25-12-18", "25.12.2018", "25 / 12 / 2018", "2018-12-25", "2018/12/25 14:03", "20181225", "25122018",
    "12/25/2018", "25 DEC 18", "25DEC2018", "25-Dec-2018", "Dec 25, 2018", "December 25th, 2018", "Tue 25 Dec 2018 14:03:11",
    "25 Dec '18", "2018 Dec 25", "25. Dezember 2018", "25 décembre 2018", "25 de diciembre de 2018", "2018年12月25日",
    "２５／１２／２０１８", "25\u00a0Dec\u20092018", "2018-12-25T14:03:00Z", "2018-12-25T14:03:00.120+08:00", "02:15 PM 25/12/2018",
    "Date: 25/12/2018",
]  # fmt: skip
OTHER_DATES = [
    ("05/03/2018", date(2018, 3, 5)),
    ("22 MAR 18", date(2018, 3, 22)),
    ("Mar 5, 2018", date(2018, 3, 5)),
    ("18-03-05", date(2005, 3, 18)),
    ("99-12-31", date(1999, 12, 31)),
    ("01/01/1970", date(1970, 1, 1)),
    ("29.02.2024", date(2024, 2, 29)),
    ("5. marraskuuta 2018", date(2018, 11, 5)),
    ("5. maaliskuuta 2018", date(2018, 3, 5)),
    ("5 maj 2018", date(2018, 5, 5)),
    ("17 Agustus 2018", date(2018, 8, 17)),
]
NO_DATES = [
    "tomorrow", "25/12", "March 2018", "31/02/2018", "29/02/2023", "13/13/2018", "25/12/218", "25/12/2018 and 26/12/2018", "1/1/1969",
    "25/12/69", "2018-13-01", "99999999", "1 of 2", "25#12#2018", "1/99999999999999999999/2018",
]  # fmt: skip
AMOUNTS = [
    ("$8.20", "8.20"), ("RM 12.50", "12.50"), ("RM12.50", "12.50"), ("1,234.56", "1234.56"), ("1.234,56 €", "1234.56"),
    ("12,50", "12.50"), ("1 234,56 kr", "1234.56"), ("1'234.50 CHF", "1234.50"), ("CHF 1’234.50", "1234.50"), ("1,234", "1234"),
    ("1.234", "1.234"), ("0,735", "0.735"), ("1.234.567", "1234567"), ("1,23,456.00", "123456.00"), ("Rs. 120.00", "120.00"),
    ("Rs.120", "120"), ("￥１，２００", "1200"), (".50", "0.50"), ("5,-", "5"), ("12.--", "12"), ("-5.00", "-5.00"), ("−5.00", "-5.00"),
    ("5.00-", "-5.00"), ("(5.00)", "-5.00"), ("($5.00)", "-5.00"), ("RM -5.00", "-5.00"), ("1.00005", "1.0001"),
    ("99999999999999", "99999999999999"), (8.2, "8.2"), (0.1, "0.1"), (7, "7"), (0.30000000000000004, "0.3"), (Decimal("2.50"), "2.50"), (Decimal("1E+5"), "100000"),
    ("5:-", "5"), ("12 :-", "12"), ("5.– CHF", "5"), ("(-5.00)", "-5.00"), ("Rp 25.000", "25000"), ("25.000 Rp", "25000"), ("Rp25.000,-", "25000"),
    ("₫120.000", "120000"), ("120.000đ", "120000"), ("4.990 Ft", "4990"), ("Rp 25.000,50", "25000.50"), ("5.000 KWD", "5.000"), ("¥12.50", "12.50"),
]  # fmt: skip
NO_AMOUNTS = [
    "free", "12.50 or 13.50", "12 50", "6%", "1e3", "1.2.3", "1,234,56", "USD", "NaN", "Infinity", "100000000000000", "+-5", "1⁹⁹", "12.50¹", "²", "12½", "①",
    float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), 1e300, True,
]  # fmt: skip
QUANTITIES = [
    ("2", "2"), ("2x", "2"), ("x 2", "2"), ("2 ×", "2"), ("2 pcs", "2"), ("0.735 kg", "0.735"), ("0,735kg", "0.735"), ("-1", "-1"),
    (1.5, "1.5"), ("0.1234567", "0.123457"),
]  # fmt: skip


@pytest.mark.parametrize("written", CHRISTMAS)
def test_one_day_in_every_usual_writing(written):
    """However it is written, it is the same day."""
    assert day.validate_python(written) == date(2018, 12, 25)


@pytest.mark.parametrize(("written", "meant"), OTHER_DATES)
def test_an_ambiguous_date_has_its_day_first(written, meant):
    """The day comes first where both would do, and a year first only where it cannot be a day."""
    assert read_date(written, TODAY) == meant


@pytest.mark.parametrize("written", NO_DATES)
def test_what_is_no_date_is_refused_as_a_value(written):
    """Text that is no possible day is a value refused, never a null and never a guess."""
    with pytest.raises(ValidationError) as refused:
        day.validate_python(written)
    assert [error["type"] for error in refused.value.errors()] == ["value_error"]


def test_a_day_too_far_ahead_is_refused():
    """Two years ahead is still a due date; a day more is a misread year."""
    assert plausible(date(2028, 11, 20), TODAY) == date(2028, 11, 20)
    with pytest.raises(ValueError, match="more than 2 years ahead"):
        plausible(date(2028, 11, 21), TODAY)


def test_the_gate_uses_the_real_day():
    """Without a given day, far ahead is counted from now."""
    with pytest.raises(ValidationError, match="years ahead"):
        day.validate_python(f"{datetime.now(UTC).year + 3}-12-31")


def test_dates_that_are_dates_already_pass():
    """A date stays, a datetime loses its time, and both pass the same gate."""
    assert day.validate_python(date(2018, 12, 25)) == day.validate_python(datetime(2018, 12, 25, 14, 3, tzinfo=UTC))
    with pytest.raises(ValidationError, match="before 1970"):
        day.validate_python(date(1960, 1, 1))


def test_a_number_is_no_timestamp():
    """A bare number is not read as seconds since 1970."""
    with pytest.raises(ValidationError):
        day.validate_python(1545696000)


@given(
    st.dates(date(1970, 1, 1), date(2026, 1, 1)),
    st.sampled_from(["%d/%m/%Y", "%Y-%m-%d", "%d %b %Y", "%B %d, %Y", "%d.%m.%Y"]),
)
def test_every_day_survives_being_written(when, writing):
    """A day written in a usual way is read as that day, and its own JSON as well."""
    assert day.validate_python(when.strftime(writing)) == when
    assert day.validate_json(day.dump_json(when)) == when


@pytest.mark.parametrize(("written", "meant"), AMOUNTS)
def test_amounts(written, meant):
    """An amount is exact, at most four decimals long, and its currency is left out."""
    assert amount.validate_python(written) == Decimal(meant)


@pytest.mark.parametrize("written", NO_AMOUNTS)
def test_what_is_no_amount_is_refused_as_a_value(written):
    """What is not one finite number is refused."""
    with pytest.raises(ValidationError) as refused:
        amount.validate_python(written)
    assert [error["type"] for error in refused.value.errors()] == ["value_error"]


@given(st.decimals(-(10**13), 10**13, places=4))
def test_every_amount_survives_being_written(number):
    """An amount in digits, in digits with groups, and as its own JSON is the same amount."""
    assert amount.validate_python(str(number)) == number
    assert amount.validate_python(f"{number:,.4f}") == number
    assert amount.validate_json(amount.dump_json(number)) == number


@given(st.from_regex(r"[0-9]{1,9}([.,][0-9]{0,7})?", fullmatch=True))
def test_plain_digits_are_the_number_that_they_are_with_a_currency_or_a_unit(written):
    """Digits alone, which are read at once, are the same number as the same digits with something beside them."""
    for reader, beside in ((read_amount, f"{written} MYR"), (read_quantity, f"{written} kg")):
        assert _read_or_refuse(reader, written) == _read_or_refuse(reader, beside)


@given(st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True))
def test_an_iso_day_is_the_day_that_it_is_with_a_time(written):
    """A day as ISO 8601 writes it, which is split at once, is the same day as with a time behind it."""
    assert _read_or_refuse(read_date, written) == _read_or_refuse(read_date, f"{written} 14:03")


def _read_or_refuse(reader, written):
    try:
        return reader(written)
    except ValueError:
        return "refused"


@given(st.integers(-(10**6), 10**6))
def test_both_decimal_marks_mean_the_same(cents):
    """1,234.56 and 1.234,56 are one number."""
    english = f"{Decimal(cents) / 100:,.2f}"
    continental = english.translate(str.maketrans(",.", ".,"))
    assert amount.validate_python(english) == amount.validate_python(continental) == Decimal(cents) / 100


@pytest.mark.parametrize("reader", READERS)
@given(written=st.text(max_size=12) | st.text("0123456789.,-/' ", max_size=30) | st.integers() | st.floats())
def test_nothing_breaks_a_reader(reader, written):
    """Whatever a model writes is read or refused, and nothing else happens."""
    with suppress(ValidationError):
        reader.validate_python(written)


@pytest.mark.parametrize(("written", "meant"), QUANTITIES)
def test_quantities(written, meant):
    """A quantity may carry its unit, and at most six decimals."""
    assert quantity.validate_python(written) == Decimal(meant)


@pytest.mark.parametrize("written", ["two", "2 of 3", "3 x 4", "10³", "NaN", "1.2.3", False])
def test_what_is_no_quantity_is_refused(written):
    """Words, products and things that are no number are refused."""
    with pytest.raises(ValidationError):
        quantity.validate_python(written)


@pytest.mark.parametrize(
    ("written", "code"),
    [("RM", "MYR"), ("$", "USD"), ("€", "EUR"), ("£", "GBP"), ("myr", "MYR"), ("S$", "SGD"), (" Rs. ", "INR")],
)
def test_currencies_become_codes(written, code):
    """A symbol or a code in any case becomes the ISO 4217 code."""
    assert currency.validate_python(written) == code


@pytest.mark.parametrize("written", ["GST", "XYZ", "kr", "dollars", "MYR/USD", "5"])
def test_what_is_no_currency_is_refused(written):
    """Three letters alone make no currency."""
    with pytest.raises(ValidationError, match="not a currency"):
        currency.validate_python(written)


def test_every_symbol_stands_for_a_real_code():
    """No symbol leads to a code that the gate would refuse."""
    assert set(SYMBOLS.values()) <= CODES


@pytest.mark.parametrize("absent", ["", "  ", "-", "N/A", "none", "null", None])
def test_what_says_nothing_is_none(absent):
    """The usual ways of saying nothing are null in every nullable value."""
    assert [reader.validate_python(absent) for reader in READERS] == [None] * 5


def test_text_is_one_line():
    """Line breaks and runs of spaces become single spaces; a number becomes its text."""
    assert text.validate_python(" 12, JALAN\n TAMPOI ") == "12, JALAN TAMPOI"
    assert text.validate_python(10023) == "10023"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", [["a"], {"a": 1}])
def test_a_wrong_shape_is_left_to_pydantic(reader, shape):
    """A list or an object where one value was asked is the wrong shape, not a value refused."""
    with pytest.raises(ValidationError) as refused:
        reader.validate_python(shape)
    assert "value_error" not in {error["type"] for error in refused.value.errors()}


def test_words_are_not_empty():
    """Where words were asked for, spaces are refused."""
    with pytest.raises(ValidationError, match="empty where words"):
        TypeAdapter(Words).validate_python("  ")


def test_null_is_an_empty_list_and_an_empty_cell():
    """A model's null for a list or a cell is one with nothing in it."""
    assert TypeAdapter(Many[str]).validate_python(None) == []
    assert TypeAdapter(Cell).validate_python(None) == ""


def test_the_wire_is_simple():
    """A date is a string, an amount a number, and each may be null: no unions of types."""
    nullable = [
        {"type": "string", "format": "date"},
        {"type": "number"},
        {"type": "number"},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "string"},
    ]
    assert [reader.json_schema()["anyOf"][0] for reader in (day, amount, quantity, currency, text)] == nullable


def test_a_document_is_read_leniently():
    """A field that was left out is null, and one that nobody asked for is ignored."""

    class Note(Document):
        line: Text = None

    assert Note.model_validate({"more": 1}).line is None
