"""page.values: the text that a field shows, and the JSON in which it is downloaded."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from extractors.report.page.values import MOST_CHARACTERS, make_value

ITEMS = pl.List(pl.Struct({"what": pl.String, "amount": pl.Decimal(38, 6)}))


@pytest.mark.parametrize(
    ("value", "dtype", "kind", "text", "json"),
    [
        ("a <b>", pl.String(), "text", "a <b>", ""),
        ("a\r\nb", pl.String(), "text", "a\r\nb", '"a\\r\\nb"'),
        (None, pl.String(), "text", "", "null"),
        (date(2026, 11, 20), pl.Date(), "date", "2026-11-20", ""),
        (9007199254740993, pl.Int64(), "number", "9007199254740993", "9007199254740993"),
        (0.5, pl.Float64(), "number", "0.5", "0.5"),
        (Decimal("21.1000"), pl.Decimal(38, 4), "decimal", "21.10", '"21.10"'),
        (Decimal("3.000000"), pl.Decimal(38, 6), "decimal", "3", '"3"'),
        (True, pl.Boolean(), "flag", "yes", "true"),
        ([], ITEMS, "json", "", "[]"),
        (
            [{"what": "tea", "amount": Decimal("2.500000")}, {"what": None, "amount": None}],
            ITEMS,
            "json",
            "tea · 2.50\n- · -",
            '[{"what":"tea","amount":"2.50"},{"what":null,"amount":null}]',
        ),
    ],
)
def test_value_has_text_and_json_of_its_type(value, dtype, kind, text, json):
    field_value = make_value("f", value, dtype)
    assert (field_value.kind, field_value.text, field_value.json) == (kind, text, json)
    assert field_value.is_null == (value is None)


def test_long_value_is_cut():
    field_value = make_value("f", "x" * (MOST_CHARACTERS + 1), pl.String())
    assert (len(field_value.text), field_value.cut) == (MOST_CHARACTERS, True)
