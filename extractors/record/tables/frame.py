"""Build a frame from rows of a table."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars._typing import PolarsDataType

    from extractors.record.tables.columns import Columns
    from extractors.record.tables.rows import Row


def build_frame(rows: Sequence[Row], schema: Columns) -> pl.DataFrame:
    """The rows with exactly these columns; what a row lacks is null.

    Decimals are given to polars as text: for the first Decimal it imports numpy, and each takes it four times as long.
    A number that does not fit its column is null, as polars has it for Decimals.
    """
    texts = {name: _as_text(dtype) for name, dtype in schema.items()}
    names = [name for name, dtype in schema.items() if texts[name] != dtype]
    if names:
        rows = [{**row, **{name: _write_decimals(row.get(name)) for name in names}} for row in rows]
    return pl.DataFrame(rows, schema=texts, orient="row").with_columns(
        pl.col(name).cast(schema[name], strict=False) for name in names
    )


def _as_text(dtype: PolarsDataType) -> PolarsDataType:
    """The type with text in place of every Decimal."""
    if isinstance(dtype, pl.Decimal):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_as_text(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _as_text(field.dtype) for field in dtype.fields})
    return dtype


def _write_decimals(value: object) -> object:
    """The value with every Decimal in it as text without an exponent."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {name: _write_decimals(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_write_decimals(each) for each in value]
    return value
