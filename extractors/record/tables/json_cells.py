"""JSON values that a person wrote, as cells of a column's type."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from polars._typing import PolarsDataType


def to_cell(value: object, dtype: PolarsDataType) -> object:
    """A JSON value as a cell of this type. Raises ValueError, TypeError or InvalidOperation."""
    if value is None or (value == "" and dtype != pl.String):
        return None
    if isinstance(value, str) and dtype.is_nested():  # as in a CSV file
        value = json.loads(value, parse_float=Decimal)
    if isinstance(dtype, pl.List):
        if not isinstance(value, list):
            raise TypeError("not a list")
        return [to_cell(item, dtype.inner) for item in value]
    if isinstance(dtype, pl.Struct):
        types = {field.name: field.dtype for field in dtype.fields}
        if not isinstance(value, dict) or value.keys() - types.keys():
            raise TypeError("not an object of the column's fields")
        return {name: to_cell(value.get(name), types[name]) for name in types}
    if dtype == pl.String:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=float)
    return _to_scalar(value, dtype)


def _to_scalar(value: object, dtype: PolarsDataType) -> object:
    """As `to_cell`, for booleans, numbers, dates and times."""
    if isinstance(value, bool) != (dtype == pl.Boolean) or not isinstance(value, str | int | float | Decimal):
        raise TypeError("another type of JSON value")
    text = str(value).strip()
    if isinstance(dtype, pl.Decimal):
        return _to_decimal(text, dtype.scale)
    if dtype == pl.Date:
        return date.fromisoformat(text)
    if dtype == pl.Time:
        return time.fromisoformat(text)
    if isinstance(dtype, pl.Datetime):
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if dtype == pl.Boolean:
        return value
    return int(text) if dtype.is_integer() else float(text)


def _to_decimal(text: str, scale: int) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError("not a finite number")
    return number.quantize(Decimal(1).scaleb(-scale))
