"""Dates, amounts, quantities, currencies and text: which formats are read, and which are rejected."""
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


@pytest.mark.parametrize("text", CHRISTMAS)
def test_date_reads_each_common_format(text):
    assert day.validate_python(text) == date(2018, 12, 25)


@pytest.mark.parametrize(("text", "expected"), OTHER_DATES)
def test_date_reads_an_ambiguous_date_day_first(text, expected):
    """A year comes first only where it cannot be a day."""
    assert read_date(text, TODAY) == expected


@pytest.mark.parametrize("text", NO_DATES)
def test_date_rejects_impossible_dates_with_a_value_error(text):
    """They do not become null and are not guessed."""
    with pytest.raises(ValidationError) as raised:
        day.validate_python(text)
    assert [error["type"] for error in raised.value.errors()] == ["value_error"]


def test_plausible_rejects_a_day_more_than_two_years_ahead():
    """A due date may be two years ahead; a later one is a misread year."""
    assert plausible(date(2028, 11, 20), TODAY) == date(2028, 11, 20)
    with pytest.raises(ValueError, match="more than 2 years ahead"):
        plausible(date(2028, 11, 21), TODAY)


def test_date_measures_years_ahead_from_today():
    with pytest.raises(ValidationError, match="years ahead"):
        day.validate_python(f"{datetime.now(UTC).year + 3}-12-31")


def test_date_accepts_date_and_datetime_values():
    """A datetime loses its time, and both have the same limits."""
    assert day.validate_python(date(2018, 12, 25)) == day.validate_python(datetime(2018, 12, 25, 14, 3, tzinfo=UTC))
    with pytest.raises(ValidationError, match="before 1970"):
        day.validate_python(date(1960, 1, 1))


def test_date_rejects_a_timestamp():
    """A number is not read as seconds since 1970."""
    with pytest.raises(ValidationError):
        day.validate_python(1545696000)


@given(
    st.dates(date(1970, 1, 1), date(2026, 1, 1)),
    st.sampled_from(["%d/%m/%Y", "%Y-%m-%d", "%d %b %Y", "%B %d, %Y", "%d.%m.%Y"]),
)
def test_date_survives_formatting_and_json(expected, pattern):
    """Each day is read back from common formats and from its own JSON."""
    assert day.validate_python(expected.strftime(pattern)) == expected
    assert day.validate_json(day.dump_json(expected)) == expected


@pytest.mark.parametrize(("text", "expected"), AMOUNTS)
def test_amount_reads_each_format_exactly(text, expected):
    """An amount has at most four decimals and loses its currency."""
    assert amount.validate_python(text) == Decimal(expected)


@pytest.mark.parametrize("text", NO_AMOUNTS)
def test_amount_rejects_anything_but_one_finite_number(text):
    with pytest.raises(ValidationError) as raised:
        amount.validate_python(text)
    assert [error["type"] for error in raised.value.errors()] == ["value_error"]


@given(st.decimals(-(10**13), 10**13, places=4))
def test_amount_survives_formatting_and_json(number):
    """Each amount is read back from plain digits, grouped digits and its own JSON."""
    assert amount.validate_python(str(number)) == number
    assert amount.validate_python(f"{number:,.4f}") == number
    assert amount.validate_json(amount.dump_json(number)) == number


@given(st.from_regex(r"[0-9]{1,9}([.,][0-9]{0,7})?", fullmatch=True))
def test_fast_path_for_plain_digits_agrees_with_the_full_parser(text):
    """Digits with a currency or unit take the full parser."""
    for reader, text_with_unit in ((read_amount, f"{text} MYR"), (read_quantity, f"{text} kg")):
        assert _read_or_refuse(reader, text) == _read_or_refuse(reader, text_with_unit)


@given(st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True))
def test_fast_path_for_iso_dates_agrees_with_the_full_parser(text):
    """A date with a time takes the full parser."""
    assert _read_or_refuse(read_date, text) == _read_or_refuse(read_date, f"{text} 14:03")


def _read_or_refuse(reader, text):
    try:
        return reader(text)
    except ValueError:
        return "refused"


@given(st.integers(-(10**6), 10**6))
def test_amount_reads_both_decimal_marks(cents):
    """1,234.56 and 1.234,56 are one number."""
    english = f"{Decimal(cents) / 100:,.2f}"
    continental = english.translate(str.maketrans(",.", ".,"))
    assert amount.validate_python(english) == amount.validate_python(continental) == Decimal(cents) / 100


@pytest.mark.parametrize("reader", READERS)
@given(written=st.text(max_size=12) | st.text("0123456789.,-/' ", max_size=30) | st.integers() | st.floats())
def test_reader_raises_only_validation_errors(reader, written):
    """Any value is read or rejected."""
    with suppress(ValidationError):
        reader.validate_python(written)


@pytest.mark.parametrize(("text", "expected"), QUANTITIES)
def test_quantity_reads_numbers_with_units(text, expected):
    """A quantity has at most six decimals."""
    assert quantity.validate_python(text) == Decimal(expected)


@pytest.mark.parametrize("text", ["two", "2 of 3", "3 x 4", "10³", "NaN", "1.2.3", False])
def test_quantity_rejects_words_products_and_other_values(text):
    with pytest.raises(ValidationError):
        quantity.validate_python(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [("RM", "MYR"), ("$", "USD"), ("€", "EUR"), ("£", "GBP"), ("myr", "MYR"), ("S$", "SGD"), (" Rs. ", "INR")],
)
def test_currency_becomes_its_iso_4217_code(text, code):
    """A symbol, or a code in any case, is read."""
    assert currency.validate_python(text) == code


@pytest.mark.parametrize("text", ["GST", "XYZ", "kr", "dollars", "MYR/USD", "5"])
def test_currency_rejects_unknown_codes(text):
    with pytest.raises(ValidationError, match="not a currency"):
        currency.validate_python(text)


def test_each_currency_symbol_has_a_valid_code():
    assert set(SYMBOLS.values()) <= CODES


@pytest.mark.parametrize("absent", ["", "  ", "-", "N/A", "none", "null", None])
def test_placeholders_for_a_missing_value_become_none(absent):
    assert [reader.validate_python(absent) for reader in READERS] == [None] * 5


def test_text_becomes_one_line():
    """Line breaks and repeated spaces become one space; a number becomes its text."""
    assert text.validate_python(" 12, JALAN\n TAMPOI ") == "12, JALAN TAMPOI"
    assert text.validate_python(10023) == "10023"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", [["a"], {"a": 1}])
def test_list_or_object_is_an_error_of_shape(reader, shape):
    """It is not a value error."""
    with pytest.raises(ValidationError) as raised:
        reader.validate_python(shape)
    assert "value_error" not in {error["type"] for error in raised.value.errors()}


def test_words_reject_blank_text():
    with pytest.raises(ValidationError, match="empty where words"):
        TypeAdapter(Words).validate_python("  ")


def test_null_becomes_an_empty_list_and_an_empty_cell():
    assert TypeAdapter(Many[str]).validate_python(None) == []
    assert TypeAdapter(Cell).validate_python(None) == ""


def test_wire_schema_has_one_type_and_null():
    """A date is a string, an amount a number: no unions of other types."""
    nullable = [
        {"type": "string", "format": "date"},
        {"type": "number"},
        {"type": "number"},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "string"},
    ]
    assert [reader.json_schema()["anyOf"][0] for reader in (day, amount, quantity, currency, text)] == nullable


def test_document_fills_missing_fields_with_null_and_ignores_extra_ones():
    class Note(Document):
        line: Text = None

    assert Note.model_validate({"more": 1}).line is None
