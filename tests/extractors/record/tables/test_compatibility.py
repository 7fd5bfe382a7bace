"""compatibility.py: a schema's columns of today are held against those published, by what the readers really do."""

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


class Turned(BaseModel):
    """The same with its fields in another order."""

    price: int
    text: str


class Longer(Line):
    """A field more."""

    code: str | None = None


class Shorter(BaseModel):
    """A field less."""

    text: str


class Priced(BaseModel):
    """A field of another type."""

    text: str
    price: float


class Colour(Enum):
    """Text in a column."""

    RED = "red"


LINE, LONGER = Line(text="a", price=1), Longer(text="a", price=1, code="c")
TURNED, SHORTER, PRICED = Turned(price=2, text="b"), Shorter(text="b"), Priced(text="b", price=1.5)
CENTS = Annotated[Decimal, Field(decimal_places=2)]

# The type of a field then and now, with a value of each.
TOGETHER = [
    (int, 1, int | None, None),
    (int | None, None, int, 2),
    (Literal["a"], "a", Literal["a", "b"], "b"),
    (Literal["a"], "a", str, "b"),
    (Colour, Colour.RED, str, "b"),
    (Line, LINE, Turned, TURNED),
    (list[Line], [LINE], list[Turned] | None, [TURNED]),
    (list[int], [1], list[int], []),
]
APART = [
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
    """A schema of these fields, each with a type and a default of none."""
    return lambda version=1, **fields: Schema(
        "slip" if version == 1 else f"slip_v{version}", model_of(fields), {}, "", "mine.slip", version
    )


def model_of(fields):
    return create_model("Slip", **{name: (annotation, ...) for name, annotation in fields.items()})


@pytest.fixture
def publish(tmp_path):
    """Publishes one row of these fields, as (type, value), under a run; gives the file."""

    def publish_run(run="20261120T021500Z-3f9a", folder="schema=slip", **fields):
        described = Fields(model := model_of({name: annotation for name, (annotation, _) in fields.items()}))
        row = described.row(model.model_construct(**{name: value for name, (_, value) in fields.items()}))
        path = tmp_path / "results" / folder / f"run_date={run[:4]}-{run[4:6]}-{run[6:8]}" / f"{run}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = described.columns | columns.RESULTS
        rows = [row | dict.fromkeys(columns.RESULTS)]
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path)
        return path

    return publish_run


def by_polars(files):
    """All rows, in one go, with the options of the contract."""
    return pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore").collect()


@pytest.mark.parametrize(("then", "before", "now", "today"), TOGETHER)
def test_what_stays_in_its_column_is_read_together(publish, schema, tmp_path, then, before, now, today):
    """A field made optional, loosened, or whose nested fields changed places, goes on; and both readers read it."""
    first = publish(field=(then, before))
    check_compatible(FolderOutput(tmp_path), schema(field=now))
    second = publish(run="20261121T021500Z-3f9a", field=(now, today))
    assert by_polars([first, second]).height == 2
    assert by_polars([second, first]).height == 2
    assert len(duckdb.read_parquet([str(first), str(second)], union_by_name=True).fetchall()) == 2


@pytest.mark.parametrize(("then", "before", "now", "today"), APART)
def test_what_changes_its_column_is_refused(publish, schema, tmp_path, then, before, now, today):
    """A field of another column type is refused; and a reader refuses it, in either order of the files."""
    first = publish(field=(then, before))
    with pytest.raises(ConfigurationError, match="schema 'slip': field 'field"):
        check_compatible(FolderOutput(tmp_path), schema(field=now))
    second = publish(run="20261121T021500Z-3f9a", field=(now, today))
    with pytest.raises(pl.exceptions.PolarsError):
        by_polars([first, second])
    with pytest.raises(pl.exceptions.PolarsError):
        by_polars([second, first])


def test_the_refusal_says_what_was_what_is_and_the_cure(publish, schema, tmp_path):
    """The schema, the field, both types, the file, and the line that lets it through."""
    publish(total=(int, 1))
    with pytest.raises(ConfigurationError) as raised:
        check_compatible(FolderOutput(tmp_path), schema(total=float))
    assert raised.value.message == (
        "schema 'slip': field 'total' was Int64, is Float64: these columns cannot be read together with"
        " results/schema=slip/run_date=2026-11-20/20261120T021500Z-3f9a.parquet; restore it, or set VERSION = 2"
        " in mine.slip (published as schema=slip_v2)"
    )


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, "field 'total' was removed"),
        ({"sum": int}, "field 'total' was removed"),
        ({"total": int, "line": Longer}, "field 'line.code' is new inside of 'line'"),
        ({"total": int, "line": Shorter}, "field 'line.price' was removed"),
        ({"total": int, "line": Priced}, "field 'line.price' was Int64, is Float64"),
    ],
)
def test_the_field_that_changed_is_named(publish, schema, tmp_path, now, said):
    """Removed, renamed, or inside of another."""
    publish(total=(int, 1), line=(Line, LINE))
    with pytest.raises(ConfigurationError, match=said):
        check_compatible(FolderOutput(tmp_path), schema(**({"line": Line} | now)))


def test_a_field_inside_of_a_list_is_named(publish, schema, tmp_path):
    """A list's models are compared like any other."""
    publish(lines=(list[Line], [LINE]))
    with pytest.raises(ConfigurationError, match=r"field 'lines\.price' was removed"):
        check_compatible(FolderOutput(tmp_path), schema(lines=list[Shorter]))


def test_many_changes_are_counted(publish, schema, tmp_path):
    """The message stays one that can be read."""
    publish(**dict.fromkeys("abcdef", (int, 1)))
    with pytest.raises(ConfigurationError, match=r"'a' .*, field 'b' .*, field 'c' .*, and 3 more: "):
        check_compatible(FolderOutput(tmp_path), schema(**dict.fromkeys("abcdef", str)))


def test_an_added_field_goes_on(publish, schema, tmp_path):
    """Wherever it stands among the others."""
    publish(total=(int, 1))
    check_compatible(FolderOutput(tmp_path), schema(shop=str, total=int, lines=list[Line]))


def test_the_newest_file_is_what_counts(publish, schema, tmp_path):
    """By its run, of which the name sorts by time."""
    publish(total=(int, 1))
    publish(run="20261121T021500Z-0001", total=(float, 1.0))
    check_compatible(FolderOutput(tmp_path), schema(total=float))
    with pytest.raises(ConfigurationError, match="20261121T021500Z-0001"):
        check_compatible(FolderOutput(tmp_path), schema(total=int))


@pytest.mark.parametrize("other", ["0001", "ffff", "3f9a-2"])
def test_of_runs_that_started_in_one_second_all_count(publish, schema, tmp_path, other):
    """Their names do not tell which was the later; a run's volumes are looked at together, too."""
    publish(total=(int, 1))
    publish(run=f"20261120T021500Z-{other}", total=(int, 1), added=(str, "a"))
    with pytest.raises(ConfigurationError, match="field 'added' was removed"):
        check_compatible(FolderOutput(tmp_path), schema(total=int))


def test_the_next_version_begins_anew(publish, schema, tmp_path):
    """Its files lie apart, so that nothing keeps it from being whatever it is."""
    publish(total=(int, 1))
    check_compatible(FolderOutput(tmp_path), schema(version=2, sum=str))


def test_the_cure_counts_on_from_the_version_in_force(publish, schema, tmp_path):
    """VERSION 2 that was changed becomes 3."""
    publish(folder="schema=slip_v2", total=(int, 1))
    with pytest.raises(ConfigurationError, match=r"set VERSION = 3 in mine\.slip \(published as schema=slip_v3\)"):
        check_compatible(FolderOutput(tmp_path), schema(version=2, total=str))


def test_another_schema_is_no_generation(publish, schema, tmp_path):
    """A schema is held against its own files only."""
    publish(folder="schema=slip_long", total=(int, 1))
    check_compatible(FolderOutput(tmp_path), schema(total=str))


def test_an_output_that_is_not_there_holds_nothing_against_a_schema(schema, tmp_path):
    """The first run has no earlier generation."""
    check_compatible(FolderOutput(tmp_path / "not yet"), schema(total=str))


def test_a_file_that_is_no_table_is_named_by_its_output(publish, schema, tmp_path):
    """What cannot be read is said before anything is spent."""
    publish(total=(int, 1)).write_bytes(b"no table")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        check_compatible(FolderOutput(tmp_path), schema(total=int))
