"""compatibility.py: a schema is refused if its columns cannot be read together with the published ones."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import duckdb
import polars as pl
import pytest
from pydantic import BaseModel, Field, create_model

from extractors.core.errors import ConfigurationError
from extractors.core.schema import Schema
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.compatibility import check_compatible
from extractors.record.tables.fields import Fields

EVENING = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)


class Line(BaseModel):
    """A nested model."""

    text: str
    price: int


class Reordered(BaseModel):
    """The fields of Line in another order."""

    price: int
    text: str


class Longer(Line):
    """Line with an additional field."""

    code: str | None = None


class Shorter(BaseModel):
    """Line without one of its fields."""

    text: str


class Priced(BaseModel):
    """Line with another type of a field."""

    text: str
    price: float


class Colour(Enum):
    """An enum of text."""

    RED = "red"


LINE, LONGER = Line(text="a", price=1), Longer(text="a", price=1, code="c")
REORDERED, SHORTER, PRICED = Reordered(price=2, text="b"), Shorter(text="b"), Priced(text="b", price=1.5)
CENTS = Annotated[Decimal, Field(decimal_places=2)]

# The earlier type of a field with a value, and its current type with a value.
COMPATIBLE = [
    (int, 1, int | None, None),
    (int | None, None, int, 2),
    (Literal["a"], "a", Literal["a", "b"], "b"),
    (Literal["a"], "a", str, "b"),
    (Colour, Colour.RED, str, "b"),
    (Line, LINE, Reordered, REORDERED),
    (list[Line], [LINE], list[Reordered] | None, [REORDERED]),
    (list[int], [1], list[int], []),
]
INCOMPATIBLE = [
    (int, 1, float, 1.5),
    (float, 1.5, int, 1),
    (int, 1, str, "b"),
    (int, 1, Decimal, Decimal("1.5")),
    (CENTS, Decimal("1.25"), Decimal, Decimal("1.5")),
    (Decimal, Decimal("1.5"), CENTS, Decimal("1.25")),
    (Decimal, Decimal("1.5"), float, 1.5),
    (date, EVENING.date(), datetime, EVENING),
    (datetime, EVENING, date, EVENING.date()),
    (date, EVENING.date(), str, "b"),
    (bool, True, int, 2),
    (str, "a", list[str], ["b"]),
    (list[int], [1], list[float], [1.5]),
    (list[CENTS], [Decimal("1.25")], list[Decimal], [Decimal("1.5")]),
    (Line, LINE, Longer, LONGER),
    (Longer, LONGER, Line, LINE),
    (Line, LINE, Shorter, SHORTER),
    (Line, LINE, Priced, PRICED),
    (list[Line], [LINE], list[Longer], [LONGER]),
    (Line, LINE, str, "b"),
]


@pytest.fixture
def schema():
    """Returns a function that builds a schema of these fields, each required and of the given type."""
    return lambda version=1, **fields: Schema(
        "slip" if version == 1 else f"slip_v{version}", build_model(fields), {}, "", "mine.slip", version
    )


def build_model(fields):
    return create_model("Slip", **{name: (annotation, ...) for name, annotation in fields.items()})


@pytest.fixture
def publish(tmp_path):
    """Returns a function that publishes one row of these fields, given as (type, value), and returns its file."""

    def publish_run(run="20261120T021500Z-3f9a", folder="schema=slip", **fields):
        row_fields = Fields(model := build_model({name: annotation for name, (annotation, _) in fields.items()}))
        row = row_fields.row(model.model_construct(**{name: value for name, (_, value) in fields.items()}))
        path = tmp_path / "results" / folder / f"run_date={run[:4]}-{run[4:6]}-{run[6:8]}" / f"{run}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = row_fields.columns | columns.RESULTS
        rows = [row | dict.fromkeys(columns.RESULTS)]
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path)
        return path

    return publish_run


def read_with_polars(files):
    """Reads all rows in one scan, with the options that the docs give."""
    return pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore").collect()


@pytest.mark.parametrize(("earlier_type", "earlier_value", "type_", "value"), COMPATIBLE)
def test_field_of_the_same_column_type_is_accepted(
    publish, schema, tmp_path, earlier_type, earlier_value, type_, value
):
    """A field may become optional, loose or reordered inside; polars and DuckDB read both files together."""
    first = publish(field=(earlier_type, earlier_value))
    check_compatible(FolderOutput(tmp_path), schema(field=type_))
    second = publish(run="20261121T021500Z-3f9a", field=(type_, value))
    assert read_with_polars([first, second]).height == 2
    assert read_with_polars([second, first]).height == 2
    assert len(duckdb.read_parquet([str(first), str(second)], union_by_name=True).fetchall()) == 2


@pytest.mark.parametrize(("earlier_type", "earlier_value", "type_", "value"), INCOMPATIBLE)
def test_field_of_another_column_type_is_refused(publish, schema, tmp_path, earlier_type, earlier_value, type_, value):
    """Polars cannot read both files together, in either order."""
    first = publish(field=(earlier_type, earlier_value))
    with pytest.raises(ConfigurationError, match="schema 'slip': field 'field"):
        check_compatible(FolderOutput(tmp_path), schema(field=type_))
    second = publish(run="20261121T021500Z-3f9a", field=(type_, value))
    with pytest.raises(pl.exceptions.PolarsError):
        read_with_polars([first, second])
    with pytest.raises(pl.exceptions.PolarsError):
        read_with_polars([second, first])


def test_error_names_field_types_file_and_the_next_version(publish, schema, tmp_path):
    publish(total=(int, 1))
    with pytest.raises(ConfigurationError) as raised:
        check_compatible(FolderOutput(tmp_path), schema(total=float))
    assert raised.value.message == (
        "schema 'slip': field 'total' was Int64, is Float64: these columns cannot be read together with"
        " results/schema=slip/run_date=2026-11-20/20261120T021500Z-3f9a.parquet; restore it, or set VERSION = 2"
        " in mine.slip (published as schema=slip_v2)"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "field 'total' was removed"),
        ({"sum": int}, "field 'total' was removed"),
        ({"total": int, "line": Longer}, "field 'line.code' is new inside of 'line'"),
        ({"total": int, "line": Shorter}, "field 'line.price' was removed"),
        ({"total": int, "line": Priced}, "field 'line.price' was Int64, is Float64"),
    ],
)
def test_error_names_a_removed_renamed_or_nested_field(publish, schema, tmp_path, changes, message):
    publish(total=(int, 1), line=(Line, LINE))
    with pytest.raises(ConfigurationError, match=message):
        check_compatible(FolderOutput(tmp_path), schema(**({"line": Line} | changes)))


def test_error_names_a_field_of_a_model_in_a_list(publish, schema, tmp_path):
    publish(lines=(list[Line], [LINE]))
    with pytest.raises(ConfigurationError, match=r"field 'lines\.price' was removed"):
        check_compatible(FolderOutput(tmp_path), schema(lines=list[Shorter]))


def test_error_names_three_changes_and_counts_the_others(publish, schema, tmp_path):
    publish(**dict.fromkeys("abcdef", (int, 1)))
    with pytest.raises(ConfigurationError, match=r"'a' .*, field 'b' .*, field 'c' .*, and 3 more: "):
        check_compatible(FolderOutput(tmp_path), schema(**dict.fromkeys("abcdef", str)))


def test_added_field_is_accepted(publish, schema, tmp_path):
    """Its position among the other fields does not matter."""
    publish(total=(int, 1))
    check_compatible(FolderOutput(tmp_path), schema(shop=str, total=int, lines=list[Line]))


def test_schema_is_compared_with_the_newest_file(publish, schema, tmp_path):
    """Run ids sort by time."""
    publish(total=(int, 1))
    publish(run="20261121T021500Z-0001", total=(float, 1.0))
    check_compatible(FolderOutput(tmp_path), schema(total=float))
    with pytest.raises(ConfigurationError, match="20261121T021500Z-0001"):
        check_compatible(FolderOutput(tmp_path), schema(total=int))


@pytest.mark.parametrize("other", ["0001", "ffff", "3f9a-2"])
def test_schema_is_compared_with_all_runs_of_the_newest_second(publish, schema, tmp_path, other):
    """Their ids do not tell which run is newer; the volumes of a run are compared too."""
    publish(total=(int, 1))
    publish(run=f"20261120T021500Z-{other}", total=(int, 1), added=(str, "a"))
    with pytest.raises(ConfigurationError, match="field 'added' was removed"):
        check_compatible(FolderOutput(tmp_path), schema(total=int))


def test_next_version_is_accepted_with_any_fields(publish, schema, tmp_path):
    """Its files are in a folder of their own."""
    publish(total=(int, 1))
    check_compatible(FolderOutput(tmp_path), schema(version=2, sum=str))


def test_error_suggests_the_version_after_the_current_one(publish, schema, tmp_path):
    publish(folder="schema=slip_v2", total=(int, 1))
    with pytest.raises(ConfigurationError, match=r"set VERSION = 3 in mine\.slip \(published as schema=slip_v3\)"):
        check_compatible(FolderOutput(tmp_path), schema(version=2, total=str))


def test_files_of_another_schema_are_ignored(publish, schema, tmp_path):
    publish(folder="schema=slip_long", total=(int, 1))
    check_compatible(FolderOutput(tmp_path), schema(total=str))


def test_missing_output_accepts_any_schema(schema, tmp_path):
    check_compatible(FolderOutput(tmp_path / "not yet"), schema(total=str))


def test_unreadable_file_raises_configuration_error(publish, schema, tmp_path):
    """The error is raised before anything is spent."""
    publish(total=(int, 1)).write_bytes(b"no table")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        check_compatible(FolderOutput(tmp_path), schema(total=int))
