"""frame.py: rows become a frame with the types of the columns."""

from decimal import Decimal

import polars as pl
import pytest

from extractors.record.tables.columns import INT, MONEY, TEXT
from extractors.record.tables.frame import build_frame

ITEMS = pl.List(pl.Struct({"amount": pl.Decimal(38, 6), "name": pl.String()}))


def test_frame_has_the_decimals_of_nested_rows():
    """Decimals are exact at every depth, with or without an exponent."""
    rows = [
        {"id": 1, "cost": Decimal("1E-9"), "items": [{"amount": Decimal("12345678901234567890.123456"), "name": "a"}]},
        {"id": 2, "cost": Decimal("1E+3"), "items": None},
    ]
    frame = build_frame(rows, {"id": INT, "cost": MONEY, "items": ITEMS})
    assert frame.schema == {"id": INT, "cost": MONEY, "items": ITEMS}
    assert frame["cost"].to_list() == [Decimal("0.000000001"), Decimal(1000)]
    assert frame["items"].to_list() == [[{"amount": Decimal("12345678901234567890.123456"), "name": "a"}], None]


@pytest.mark.parametrize(
    ("amount", "rounded"), [("0.1234567895", "0.123456790"), ("0.12345678949", "0.123456789"), ("1234567890.5", None)]
)
def test_frame_rounds_decimals_to_the_places_of_their_column(amount, rounded):
    """A number with too many digits before the point becomes null."""
    (cell,) = build_frame([{"cost": Decimal(amount)}], {"cost": MONEY})["cost"]
    assert cell == (rounded and Decimal(rounded))


def test_frame_ignores_other_keys_and_fills_missing_ones_with_null():
    """A row of the ledger has more columns than the table."""
    frame = build_frame([{"name": "a", "secret": 1}, {"cost": Decimal(0)}], {"name": TEXT, "cost": MONEY})
    assert frame.rows() == [("a", None), (None, Decimal(0))]
