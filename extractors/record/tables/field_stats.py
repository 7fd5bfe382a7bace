"""Published or staged results in, one row per field of the schema out: how full it is, how varied, from where to where."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.record.tables.rows import Row

MAX_TEXT = 200  # characters of text that are kept of a least or greatest value


def field_rows(results: pl.LazyFrame, names: Sequence[str], run: str, schema: str) -> list[Row]:
    """The rows of the table `fields`, in the order of `names`, from one pass over `results`.

    `rows` counts all rows and `nulls` those without a value; `distinct` counts different values, null not among them.

    | column  | `min`, `max`                              | `mean_length`   |
    |---------|-------------------------------------------|-----------------|
    | text    | first and last by code point, cut to 200  | mean characters |
    | numbers | in digits, a Decimal with all its places  | null            |
    | dates   | ISO 8601, times of a day and moments too  | null            |
    | lists   | null: no order that anyone would ask for  | mean items      |
    | others  | null: structs and booleans, likewise      | null            |
    """
    if not names:
        return []
    types = results.collect_schema()
    told = results.select(_stats_of(name, types[name]) for name in names).collect(engine="streaming")
    (found,) = told.to_dicts()
    return [_build_row(found[name], {"run": run, "schema": schema, "field": name}) for name in names]


def _stats_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """What one column says of itself, as one struct."""
    column, nothing = pl.col(name), pl.lit(None)
    ordered = dtype.is_numeric() or dtype.is_temporal() or dtype == pl.String
    return pl.struct(
        rows=pl.len().cast(pl.Int64),
        nulls=column.null_count().cast(pl.Int64),
        distinct=_hash_values(name, dtype).n_unique().cast(pl.Int64),
        min=column.min() if ordered else nothing,
        max=column.max() if ordered else nothing,
        mean_length=_mean_length(column, dtype),
    ).alias(name)


def _hash_values(name: str, dtype: pl.DataType) -> pl.Expr:
    """64 bits of every value that is not null: to count them, a million long texts are not kept."""
    column = pl.col(name)
    if dtype.is_nested():  # as JSON: not every polars that is allowed here hashes lists and structs
        return pl.struct(column).struct.json_encode().filter(column.is_not_null()).hash()
    return column.drop_nulls().hash()


def _mean_length(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return column.str.len_chars().mean()
    if dtype == pl.List:
        return column.list.len().mean()
    return pl.lit(None, dtype=pl.Float64())


def _build_row(told: dict[str, object], names: Row) -> Row:
    return names | told | {"min": _format_value(told["min"]), "max": _format_value(told["max"])}


def _format_value(value: object) -> str | None:
    """A value as text that sorts and reads the same everywhere."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")  # no exponent
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    return str(value)[:MAX_TEXT]
