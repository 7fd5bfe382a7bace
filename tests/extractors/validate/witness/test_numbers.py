"""witness/numbers.py: numbers in a text, in any usual notation."""

from decimal import Decimal

import pytest

from extractors.validate.witness.numbers import iter_numbers


def find_values(text):
    return {place.value for place in iter_numbers(text)}


@pytest.mark.parametrize(
    ("notation", "value"),
    [
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("1 234.50", "1234.50"),
        ("1'234.50", "1234.50"),
        ("12,34,567.00", "1234567"),
        ("1234.5", "1234.5"),
        ("RM1234.50", "1234.5"),
        ("$ 1,234.50", "1234.5"),
        ("1,234", "1234"),
        ("0,735", "0.735"),
        ("12.50-", "12.5"),
        ("(12.50)", "12.5"),
        ("6 %", "0.06"),
        ("6%", "6"),
        ("12 .50", "12.5"),
        ("12. 50", "12.5"),
        (".50", "0.5"),
        ("3 PCS", "3"),
        ("2x", "2"),
        ("x2", "2"),
        ("\n12 x 3.00", "12"),
    ],
)
def test_number_is_found_in_any_usual_notation(notation, value):
    """Separators group digits or begin the decimals; currencies, units and signs are ignored."""
    assert Decimal(value) in find_values(f"TOTAL {notation} END")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("112.50", "12.50"),
        ("12.505", "12.50"),
        ("1,112.50", "112.50"),
        ("29/01/2018", "2018"),
        ("14:05", "14"),
        ("03-1234567", "3"),
        ("AB123", "123"),
        ("123AB", "123"),
        ("12.50.3", "12.50"),
    ],
)
def test_part_of_a_number_date_or_code_is_not_found(text, value):
    assert Decimal(value) not in find_values(text)
