"""Check before a run sends anything that a schema's columns can be read together with its published files.

All files of `results/schema=<name>` must be readable at once, with polars (`missing_columns="insert"`,
`extra_columns="ignore"`) and with DuckDB (`union_by_name`). Measured with polars 2.1 and DuckDB 2.0:

| change of a field                                                            | polars  | DuckDB  |
|------------------------------------------------------------------------------|---------|---------|
| added                                                                        | reads   | reads   |
| widened within its column: optional, looser, more members of an enum or so   | reads   | reads   |
| fields of a nested model in another order, in lists too                      | reads   | reads   |
| a field added to a nested model, or taken from it                            | refuses | reads   |
| number to float, to Decimal or other places, date to time, anything to text  | refuses | casts   |
| text to a list or a nested model                                             | refuses | refuses |

So fields can be added or widened within their column; all other changes need the next `VERSION`, with files of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from extractors.core.errors import ConfigurationError
from extractors.record.output.base import reading
from extractors.record.tables import columns
from extractors.record.tables.fields import Fields
from extractors.record.tables.history import DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars._typing import PolarsDataType

    from extractors.core.schema import Schema
    from extractors.record.output.base import Output

MAX_NAMED = 3  # fields in one error


def check_compatible(output: Output, schema: Schema) -> None:
    """Raises ConfigurationError when the fields cannot be read together with the newest published results of this schema."""
    with reading(output):
        files = sorted(output.list_files(f"results/schema={schema.name}", DAYS), key=_start_second)
    now = Fields(schema.model).columns
    for newest in (each for each in files if _start_second(each) == _start_second(files[-1])):
        with reading(output):
            then = output.scan([newest]).collect_schema()
        if changes := list(_find_differences({name: then[name] for name in then if name not in columns.RESULTS}, now)):
            named, more = ", ".join(changes[:MAX_NAMED]), len(changes) - MAX_NAMED
            others = f", and {more} more" if more > 0 else ""
            raise ConfigurationError(
                f"schema {schema.name!r}: {named}{others}: these columns cannot be read together with {newest};"
                f" restore it, or set VERSION = {schema.version + 1} in {schema.module}"
                f" (published as schema={schema.next_name})"
            )


def _start_second(key: str) -> str:
    """The second in which the run of this file started: the start of its name, shared by the run's volumes."""
    return key.rpartition("/")[2].partition("-")[0]


def _find_differences(then: columns.Columns, now: columns.Columns) -> Iterator[str]:
    """Describe the differences that prevent reading columns of now with those of then."""
    for name, dtype in then.items():
        if name in now:
            yield from _find_type_changes(name, dtype, now[name])
        else:
            yield f"field {name!r} was removed"


def _find_type_changes(field: str, then: PolarsDataType, now: PolarsDataType) -> Iterator[str]:
    """Describe the changes that prevent reading a column of now with one of then, by the name of the nested field."""
    if isinstance(then, pl.List) and isinstance(now, pl.List):
        yield from _find_type_changes(field, then.inner, now.inner)
    elif isinstance(then, pl.Struct) and isinstance(now, pl.Struct):
        before = {each.name: each.dtype for each in then.fields}
        today = {each.name: each.dtype for each in now.fields}
        for name in before | today:
            if name not in today:
                yield f"field '{field}.{name}' was removed"
            elif name not in before:
                yield f"field '{field}.{name}' is new inside of {field!r}"
            else:
                yield from _find_type_changes(f"{field}.{name}", before[name], today[name])
    elif then != now:
        yield f"field {field!r} was {then}, is {now}"
