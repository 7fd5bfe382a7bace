"""Statistics of a schema's fields over published or staged results: nulls, distinct values, minimum, maximum, length."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.record.tables.rows import Row

MAX_TEXT = 200  # characters kept of a minimum or maximum


def field_rows(results: pl.LazyFrame, names: Sequence[str], run: str, schema: str) -> list[Row]:
    """The rows of the table `fields`, in the order of `names`, from one pass over `results`.

    `rows` counts all rows, `nulls` those without a value, and `distinct` the different values without null.

    | column  | `min`, `max`                              | `mean_length`   |
    |---------|-------------------------------------------|-----------------|
    | text    | first and last by code point, cut to 200  | mean characters |
    | numbers | in digits, a Decimal with all its places  | null            |
    | dates   | ISO 8601, times of a day and moments too  | null            |
    | lists   | null: they have no useful order           | mean items      |
    | others  | null: also structs and booleans           | null            |

    `mean_confidence` is the mean of the known confidences.
    """
    if not names:
        return []
    types = results.collect_schema()
    evidence = pl.col("_evidence").count() if "_evidence" in types else pl.lit(0)
    columns = (_stats_of(name, types[name]) for name in names)
    (stats,) = results.select(evidence.alias("_evidence"), *columns).collect(engine="streaming").to_dicts()
    means = _average_confidence(results) if stats["_evidence"] else {}
    common: Row = {"run": run, "schema": schema}
    return [_build_row(stats[name], common | {"field": name, "mean_confidence": means.get(name)}) for name in names]


def _average_confidence(results: pl.LazyFrame) -> dict[str, float]:
    """The mean of the known confidences of each field."""
    known = results.select(pl.col("_evidence").explode()).drop_nulls().unnest("_evidence").drop_nulls("confidence")
    means = known.group_by("field").agg(pl.col("confidence").mean()).collect(engine="streaming")
    return dict(means.iter_rows())


def _stats_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """The statistics of one column, as a struct."""
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
    """A 64-bit hash of every value that is not null, which takes less memory than the values."""
    column = pl.col(name)
    if dtype.is_nested():  # as JSON: some supported versions of polars do not hash lists and structs
        return pl.struct(column).struct.json_encode().filter(column.is_not_null()).hash()
    return column.drop_nulls().hash()


def _mean_length(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return column.str.len_chars().mean()
    if dtype == pl.List:
        return column.list.len().mean()
    return pl.lit(None, dtype=pl.Float64())


def _build_row(stats: dict[str, object], names: Row) -> Row:
    ends = {"min": _format_value(stats["min"]), "max": _format_value(stats["max"])}
    mean = {"mean_confidence": names.pop("mean_confidence")}
    return names | stats | ends | mean


def _format_value(value: object) -> str | None:
    """A value as text, independent of locale and platform."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")  # no exponent
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    return str(value)[:MAX_TEXT]
