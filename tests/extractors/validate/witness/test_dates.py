"""witness/dates.py: dates in a text, in any usual notation and order."""

from datetime import date

import pytest

from extractors.validate.witness.dates import iter_dates


def find_dates(text):
    return {place.value for place in iter_dates(text)}


@pytest.mark.parametrize(
    "notation",
    [
        *("29/01/2018", "29.1.18", "29-01-18", "01/29/2018", "2018-01-29", "2018/1/29", "29 01 2018", "18-01-29"),
        *("29 Jan 2018", "29JAN18", "JAN 29, 2018", "29. Januar 2018", "29 de enero de 2018", "2018 Jan 29"),
        *("29th January '18", "29\nJAN\n2018", "2018年1月29日", "20180129", "29012018", "29/01/20181448:23"),
        "29Jan 1812:44",
    ],
)
def test_date_is_found_in_any_usual_notation(notation):
    """It may span line breaks, and the space before a time may be missing."""
    assert date(2018, 1, 29) in find_dates(f"DATE: {notation} END")


@pytest.mark.parametrize("text", ["29/01/2019", "28/01/2018", "29/02/2018", "129/01/2018", "29/01"])
def test_other_date_is_not_found(text):
    assert date(2018, 1, 29) not in find_dates(text)


def test_ambiguous_date_is_found_in_both_orders():
    assert find_dates("05/03/2018") == {date(2018, 3, 5), date(2018, 5, 3)}
