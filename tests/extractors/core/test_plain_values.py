"""plain_values.py: values of different types are converted to numbers, times and canonical texts, and compared."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from extractors.core.plain_values import (
    canonical_json,
    canonical_text,
    is_null,
    is_same_moment,
    is_same_number,
    to_choice,
    to_flag,
    to_moment,
    to_number,
    to_time,
)


class Colour(Enum):
    """One of several values."""

    RED = "red"


class Inner(BaseModel):
    """A nested document."""

    name: str | None = None
    amount: Decimal | None = None


NUMBERS = [("21.10", "21.1"), ("$8.20", "8.2"), ("RM 1,234.50", "1234.5"), ("-3", "-3"), ("1,234,567", "1234567"), (".5", "0.5"),
           (7, "7"), (Decimal("2.50"), "2.5"), ("$-3.10", "-3.1"), ("1e3", "1000")]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_to_number_parses_text(text, number):
    assert is_same_number(to_number(text), Decimal(number))


@pytest.mark.parametrize("value", ["", "abc", "1,23", "1.234,56", "12-13", "1 2", True, None, [1], "$"])
def test_to_number_refuses_values_that_are_not_one_number(value):
    with pytest.raises(ValueError, match="is no number"):
        to_number(value)


def test_is_same_number_compares_floats_by_their_significant_digits():
    assert is_same_number(0.1 + 0.2, Decimal("0.3"))
    assert not is_same_number(0.3, Decimal("0.301"))
    assert not is_same_number(float("nan"), float("nan"))


def test_is_same_moment_compares_instants_and_days():
    east = timezone(timedelta(hours=8))
    assert is_same_moment(to_moment("2018-03-22T10:00:00+08:00"), to_moment(datetime(2018, 3, 22, 2, tzinfo=UTC)))
    assert not is_same_moment(to_moment(datetime(2018, 3, 22, 2, tzinfo=east)), to_moment("2018-03-22T02:00:00"))
    assert is_same_moment(to_moment("2018-03-22"), to_moment(datetime(2018, 3, 22, 23)))  # noqa: DTZ001 - naive is UTC
    assert not is_same_moment(to_moment("2018-03-22"), to_moment(date(2018, 3, 23)))


@pytest.mark.parametrize(
    ("convert", "value"), [(to_moment, "22 MAR"), (to_moment, 3), (to_time, 3), (to_time, "noon"), (to_flag, 1), (to_flag, "yes")]
)  # fmt: skip
def test_conversion_refuses_values_of_another_type(convert, value):
    with pytest.raises(ValueError):
        convert(value)


def test_flags_times_and_choices_are_parsed_from_text_and_values():
    assert [to_flag(value) for value in (True, "TRUE", False, " false ")] == [True, True, False, False]
    assert to_time("10:30") == to_time(time(10, 30, tzinfo=UTC))
    assert [to_choice(value) for value in (Colour.RED, "red", 1, True)] == ["red", "red", "1", "true"]


@pytest.mark.parametrize("value", [None, "", "  ", [], {}, Inner(), {"name": None, "rows": []}])
def test_is_null_accepts_empty_values(value):
    assert is_null(value)


@pytest.mark.parametrize("value", [0, False, "-", [None], Inner(amount=0), {"name": "x"}])
def test_is_null_refuses_other_values(value):
    assert not is_null(value)


def test_canonical_json_ignores_key_order_nulls_and_number_notation():
    assert canonical_json('{"b": 1.50, "a": [1, "X"], "c": null}') == canonical_json(
        {"a": (1, "X"), "b": Decimal("1.5")}
    )
    assert canonical_json("[X") == '"[X"'
    assert canonical_json({"a": "X"}) != canonical_json({"a": "x"})


def test_canonical_text_of_a_document_equals_that_of_its_cell():
    document = [Inner(name="Café Zoë", amount=Decimal("1200.0"))]
    assert canonical_text(document) == canonical_text([{"name": "CAFÉ  ZOË", "amount": 1200, "other": None}])
    assert canonical_text(Colour.RED) == canonical_text("Red")
    assert canonical_text({1, 2}) == canonical_text({2, 1})
    assert canonical_text(date(2018, 3, 22)) != canonical_text(date(2018, 3, 23))


@given(st.integers(-(10**15), 10**15) | st.decimals(-(10**15), 10**15, allow_nan=False, allow_infinity=False, places=4))
def test_canonical_text_of_a_number_keeps_all_digits(number):
    assert Decimal(canonical_json(number)) == number
    assert canonical_text(number) == canonical_text(Decimal(number) + Decimal("0.00000"))
