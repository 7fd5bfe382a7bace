"""fields.py: each kind of field has a column type, and each value is checked against its column."""

import enum
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Literal, NewType

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, computed_field, create_model
from typing_extensions import TypeAliasType

from extractors.core import schema
from extractors.core.errors import ConfigurationError
from extractors.record.tables import columns
from extractors.record.tables.fields import CellError, Fields


class Colour(enum.StrEnum):
    """An enum of text."""

    RED = "red"


class Level(enum.Enum):
    """An enum of numbers."""

    HIGH = 3


class Line(BaseModel):
    """A nested document."""

    name: str
    price: Annotated[Decimal, Field(decimal_places=2)] | None = None


LINE = pl.Struct({"name": pl.String(), "price": pl.Decimal(38, 2)})
Cents = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
NOON = datetime(2026, 11, 20, 12, 0, 0, 123456)  # noqa: DTZ001 - naive, as models write it
EAST = timezone(timedelta(hours=2))

# annotation, column type, a value for the model, the value read back from Parquet
FIELDS = [
    (str, pl.String(), "Café Süd", "Café Süd"),
    (int, pl.Int64(), -(2**63), -(2**63)),
    (float, pl.Float64(), 0.1, 0.1),
    (bool, pl.Boolean(), True, True),
    (Decimal, pl.Decimal(38, 6), "12.345678", Decimal("12.345678")),
    (Cents, pl.Decimal(38, 2), "12.34", Decimal("12.34")),
    (Cents | None, pl.Decimal(38, 2), "12.34", Decimal("12.34")),
    (list[Cents], pl.List(pl.Decimal(38, 2)), ["1.50", "2"], [Decimal("1.50"), Decimal(2)]),
    (list[Cents | None], pl.List(pl.Decimal(38, 2)), [None, "2"], [None, Decimal(2)]),
    (Annotated[Decimal, Field(decimal_places=0)], pl.Decimal(38, 0), "7", Decimal(7)),
    (date, pl.Date(), "2026-11-20", date(2026, 11, 20)),
    (datetime, pl.Datetime("us", "UTC"), NOON, NOON.replace(tzinfo=UTC)),
    (datetime, pl.Datetime("us", "UTC"), NOON.replace(tzinfo=EAST), NOON.replace(hour=10, tzinfo=UTC)),
    (datetime | None, pl.Datetime("us", "UTC"), NOON, NOON.replace(tzinfo=UTC)),
    (list[datetime], pl.List(pl.Datetime("us", "UTC")), [NOON], [NOON.replace(tzinfo=UTC)]),
    (time, pl.Time(), "12:30:15", time(12, 30, 15)),
    (Colour, pl.String(), "red", "red"),
    (Level, pl.String(), 3, "3"),
    (Literal["cash", "card"], pl.String(), "card", "card"),
    (Literal["cash", "card"] | None, pl.String(), None, None),
    (str | None, pl.String(), None, None),
    (int | None, pl.Int64(), None, None),
    (list[str], pl.List(pl.String()), [], []),
    (list[str] | None, pl.List(pl.String()), None, None),
    (list[list[int]], pl.List(pl.List(pl.Int64())), [[1], []], [[1], []]),
    (tuple[int, ...], pl.List(pl.Int64()), [1, 2], [1, 2]),
    (set[str], pl.List(pl.String()), ["a"], ["a"]),
    (Line, LINE, {"name": "tea", "price": "1.20"}, {"name": "tea", "price": Decimal("1.20")}),
    (Line | None, LINE, None, None),
    (list[Line], pl.List(LINE), [{"name": "tea"}], [{"name": "tea", "price": None}]),
    (dict[str, int], pl.String(), {"a": 1}, '{"a":1}'),
    (dict[str, Line], pl.String(), {"a": {"name": "tea"}}, '{"a":{"name":"tea","price":null}}'),
    (dict[str, Decimal] | None, pl.String(), {"a": "1.20"}, '{"a":"1.20"}'),
    (int | str, pl.String(), "three", "three"),
    (int | str, pl.String(), 3, "3"),
    (int | str | None, pl.String(), None, None),
    (Line | str, pl.String(), {"name": "tea"}, '{"name":"tea","price":null}'),
    (Literal[1, 2], pl.String(), 2, "2"),
]


@pytest.mark.parametrize(("annotation", "dtype", "value", "cell"), FIELDS, ids=lambda parameter: str(parameter)[:40])
def test_field_has_the_column_type_of_its_annotation_and_keeps_its_value(annotation, dtype, value, cell, tmp_path):
    """The value is written to Parquet and read back."""
    model = create_model("Some", field=(annotation, ...))
    fields = Fields(model)
    frame = pl.DataFrame([fields.row(model(field=value))], schema=fields.columns, orient="row")
    frame.write_parquet(tmp_path / "field.parquet")
    stored = pl.read_parquet(tmp_path / "field.parquet")
    assert stored.schema == {"field": dtype}
    assert stored.to_dicts() == [{"field": cell}]


def test_decimal_places_of_a_field_default_set_the_scale():
    """`Field(decimal_places=…)` counts as a default as it does inside `Annotated`, also with `| None`."""

    class Money(BaseModel):
        plain: Decimal = Field(decimal_places=3)
        optional: Decimal | None = Field(None, decimal_places=4)

    assert Fields(Money).columns == {"plain": pl.Decimal(38, 3), "optional": pl.Decimal(38, 4)}


def test_columns_have_the_order_of_the_model_fields():
    """Inherited fields come first."""

    class Longer(Line):
        note: str = ""
        amount: int = 0

    assert list(Fields(Longer).columns) == ["name", "price", "note", "amount"]


@pytest.mark.parametrize("name", schema.list_shipped())
def test_shipped_schema_has_a_column_for_each_field(name):
    """No column has the name of one of the run's own."""
    model = schema.load(name).model
    field_columns = Fields(model).columns
    assert list(field_columns) == list(model.model_fields)
    assert field_columns.keys().isdisjoint(columns.RESULTS)


def test_shipped_receipt_has_typed_columns():
    """Dates, amounts and line items need no cast."""
    field_columns = Fields(schema.load("receipt").model).columns
    assert field_columns["date"] == pl.Date()
    assert field_columns["total"] == pl.Decimal(38, 4)
    assert isinstance(field_columns["line_items"], pl.List)
    assert isinstance(field_columns["line_items"].inner, pl.Struct)


class Mixed(BaseModel):
    """A document with fields of most kinds."""

    text: str
    count: int | None
    share: float
    money: Cents | None
    day: date
    at: datetime
    lines: list[Line]
    extra: dict[str, str]


mixed_documents = st.builds(
    Mixed,
    text=st.text(st.characters(exclude_categories=["Cs"])),
    count=st.none() | st.integers(-(2**63), 2**63 - 1),
    share=st.floats(allow_nan=False, allow_infinity=False),
    money=st.none() | st.decimals(-(10**9), 10**9, places=2),
    day=st.dates(),
    at=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - what hypothesis asks for
    lines=st.lists(st.builds(Line, name=st.just("tea"), price=st.none() | st.decimals(0, 9999, places=2)), max_size=3),
    extra=st.dictionaries(st.sampled_from(["a", "b"]), st.just("x")),
)


@given(documents=st.lists(mixed_documents, min_size=1, max_size=5))
def test_rows_hold_the_values_of_their_documents(documents):
    fields = Fields(Mixed)
    frame = pl.DataFrame([fields.row(document) for document in documents], schema=fields.columns, orient="row")
    plain = frame.drop("extra").to_dicts()
    assert plain == [document.model_dump(exclude={"extra"}) for document in documents]


class Computing(BaseModel):
    """A document with a computed field."""

    net: Decimal
    tax: Decimal

    @computed_field
    @property
    def gross(self) -> Decimal:
        """The sum."""
        return self.net + self.tax


def test_computed_field_is_a_column():
    """It has the annotated type and comes after the model's own fields."""
    fields = Fields(Computing)
    assert list(fields.columns) == ["net", "tax", "gross"]
    assert fields.columns["gross"] == pl.Decimal(38, 6)
    assert fields.row(Computing(net=Decimal(8), tax=Decimal(2)))["gross"] == Decimal(10)


def test_computed_field_that_raises_fails_its_document():
    """Code of a schema may raise any exception."""

    class Dividing(BaseModel):
        total: int

        @computed_field
        @property
        def share(self) -> float:
            return 1 / self.total

    with pytest.raises(CellError, match="share: ZeroDivisionError"):
        Fields(Dividing).row(Dividing(total=0))


MONEY_ALIAS = TypeAliasType("MONEY_ALIAS", Annotated[Decimal, Field(decimal_places=2)])


@pytest.mark.parametrize(
    ("annotation", "dtype"),
    [
        (MONEY_ALIAS, pl.Decimal(38, 2)),
        (MONEY_ALIAS | None, pl.Decimal(38, 2)),
        (list[MONEY_ALIAS], pl.List(pl.Decimal(38, 2))),
        (NewType("Net", Decimal), pl.Decimal(38, 6)),
        (TypeAliasType("Outer", MONEY_ALIAS), pl.Decimal(38, 2)),
        (Sequence[str], pl.List(pl.String())),
    ],
)
def test_type_alias_has_the_column_of_its_type(annotation, dtype):
    """This holds for an alias of an alias, in a list, and with `| None`."""
    assert Fields(create_model("Some", field=(annotation, ...))).columns == {"field": dtype}


@pytest.mark.parametrize(
    ("annotation", "value", "cell"),
    [
        (str | int, "Aldi", "Aldi"),
        (str | int, 3, "3"),
        (date | str, date(2026, 11, 20), "2026-11-20"),
        (Literal["a", "b"], "b", "b"),
        (str | float | None, None, None),
        (str | list[str], "Aldi", '"Aldi"'),
        (int | float, 3, "3"),
    ],
)
def test_union_of_scalars_is_stored_as_plain_text(annotation, value, cell):
    """A text has the same form as in a text column, so files can be read together; structures are JSON."""
    model = create_model("Some", field=(annotation, ...))
    assert Fields(model).row(model(field=value)) == {"field": cell}


@pytest.mark.parametrize("annotation", [str, int, float, bool, Decimal, date, datetime, time, list[str], Line, Colour])
@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()) | st.just(Line))
def test_value_of_another_type_is_a_cell_or_a_cell_error(annotation, value):
    """A value that a validator returns is a valid cell, or an error that names the field."""
    model = create_model("Some", field=(annotation, ...))
    fields = Fields(model)
    rows = []
    with suppress(CellError):
        rows.append(fields.row(model.model_construct(field=value)))
    frame = pl.DataFrame(rows, schema=fields.columns, orient="row")
    assert frame["field"].null_count() == 0


def test_none_is_refused_unless_the_field_allows_it():
    """A validator without `return` is reported; an optional field and a default of None are accepted."""

    class Slip(BaseModel):
        shop: str
        note: str | None
        total: float = None

    row = Fields(Slip).row(Slip.model_construct(shop="Inn", note=None, total=None))
    assert row == {"shop": "Inn", "note": None, "total": None}
    with pytest.raises(CellError, match="shop: the schema's own code returned None instead of str"):
        Fields(Slip).row(Slip.model_construct(shop=None, note=None, total=1.0))


@pytest.mark.parametrize("places", [39, 100])
def test_more_than_38_decimal_places_are_refused(places):
    """The error names the field, before anything is sent."""
    model = create_model("Some", field=(Annotated[Decimal, Field(decimal_places=places)], ...))
    with pytest.raises(ConfigurationError, match="'field'"):
        Fields(model)


@pytest.mark.parametrize("value", ["1e32", "NaN", "Infinity", "-1e40", "99999999999999999999999999999999.9999999"])
def test_decimal_that_does_not_fit_its_column_fails_its_document(value):
    """With 6 of 38 digits after the point, 32 are left before it."""
    model = create_model("Some", field=(Decimal, ...))
    with pytest.raises(CellError, match="field: "):
        Fields(model).row(model.model_construct(field=Decimal(value)))


def test_enum_values_are_cells():
    """Models with `use_enum_values` return them; other values are refused."""
    model = create_model("Some", field=(Level, ...))
    assert Fields(model).row(model.model_construct(field=3)) == {"field": "3"}
    with pytest.raises(CellError):
        Fields(model).row(model.model_construct(field=4))


@pytest.mark.parametrize(
    ("annotation", "value", "cell"),
    [
        (Literal["a", "b", None], None, None),  # noqa: PYI061 - users write it this way
        (Literal["a", 1, None], "a", "a"),  # noqa: PYI061
        (Literal["a", 1], 1, "1"),
        (Literal[1, 2], 2, "2"),
    ],
)
def test_literal_is_stored_as_plain_text(annotation, value, cell):
    """Text is stored unchanged, also in a literal with numbers; a literal None is null."""
    model = create_model("Some", field=(annotation, ...))
    assert Fields(model).row(model(field=value)) == {"field": cell}


@pytest.mark.parametrize(("annotation", "value"), [(float, "NaN"), (float, "inf"), (dict[str, float], {"a": "NaN"})])
def test_nan_and_infinity_fail_their_document(annotation, value):
    """JSON may contain NaN for a float, and every sum of the column would be NaN."""
    model = create_model("Some", field=(annotation, ...))
    with pytest.raises(CellError, match="field: "):
        Fields(model).row(model(field=value))


def test_secret_type_is_refused():
    """Its column would contain asterisks."""
    with pytest.raises(ConfigurationError, match="'field': the value of a SecretStr is masked"):
        Fields(create_model("Some", field=(SecretStr, ...)))
