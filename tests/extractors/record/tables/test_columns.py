"""columns.py: every table's columns as the contract lists them, and the column type of every kind of field."""

import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from extractors.core import schema
from extractors.record.tables import columns
from extractors.record.tables.columns import Fields

# Each table as the contract writes it: a name alone is text.
TABLES = {
    "RESULTS": """
        _image _document _pages:list _version _modified:time _key _sha256 _run _extracted_at:time _model_requested
        _model _schema_hash _prompt_hash _action _encoded:flag _rung:count _width:pixels _height:pixels
        _sent_width:pixels _sent_height:pixels _attempts:count _image_tokens_estimated:count _prompt_tokens:count
        _completion_tokens:count _cost_usd:money _copied_from _manifest
    """,
    "REPLIES": "run document key attempt:count outcome reply",
    "CALLS": """
        run document key schema endpoint attempt:count rung:count pages:count started_at:time seconds:real
        http_status:count outcome billed model_requested model_returned bill_rule payload_bytes:count
        sent_width:pixels sent_height:pixels estimated_image_tokens:count estimated_prompt_tokens:count
        prompt_tokens:count cached_tokens:count completion_tokens:count reasoning_tokens:count residual_tokens:count
        price_input:money price_cached:money price_output:money price_as_of:day reserved_usd:money cost_usd:money
        finish_reason request_id error
    """,
    "IMAGES": """
        run document schema page:count image size:count version modified:time format width:pixels height:pixels
        frames:count orientation:count action reason note rung:count scale:real tokens_formula:count
        tokens_table:count tokens_planned:count cost_low_usd:money cost_expected_usd:money cost_high_usd:money
    """,
    "FAILURES": """
        run document image schema version schema_hash prompt_hash model_requested stage kind message final:flag
        tries:count attempts:count cost_usd:money failed_at:time
    """,
    "FIELDS": "run schema field rows:count nulls:count distinct:count min max mean_length:real",
    "RUNS": """
        run volume:count flow schema source model endpoint policy bill_rule output job status started_at:time
        finished_at:time found:count skipped:count skipped_failed:count duplicates:count rejected:count accepted:count failed:count
        remaining:count calls:count prompt_tokens:count cached_tokens:count completion_tokens:count
        reasoning_tokens:count estimated_low_usd:money estimated_expected_usd:money estimated_high_usd:money
        cost_usd:money cost_wasted_usd:money cost_unknown_usd:money residual_tokens:count warnings:list error
        prefect_flow_run_id approved_by version passed_over
    """,
}
TYPES = {
    "": pl.String(),
    "count": pl.Int64(),
    "pixels": pl.Int32(),
    "money": pl.Decimal(18, 9),
    "real": pl.Float64(),
    "time": pl.Datetime("us", "UTC"),
    "flag": pl.Boolean(),
    "list": pl.List(pl.String()),
    "day": pl.Date(),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_documented_columns(table):
    """Names, order and types are the contract's: analysts' queries stand on them."""
    documented = [each.partition(":") for each in TABLES[table].split()]
    assert list(getattr(columns, table).items()) == [(name, TYPES[kind]) for name, _, kind in documented]


class Colour(enum.StrEnum):
    """Text by name."""

    RED = "red"


class Level(enum.Enum):
    """A number by name."""

    HIGH = 3


class Line(BaseModel):
    """A nested document."""

    name: str
    price: Annotated[Decimal, Field(decimal_places=2)] | None = None


LINE = pl.Struct({"name": pl.String(), "price": pl.Decimal(38, 2)})
Cents = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
NOON = datetime(2026, 11, 20, 12, 0, 0, 123456)  # noqa: DTZ001 - naive, as models write it
EAST = timezone(timedelta(hours=2))

# annotation, its column type, a value as the model takes it, the value as Parquet gives it back
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
    (int | str, pl.String(), "three", '"three"'),
    (int | str, pl.String(), 3, "3"),
    (int | str | None, pl.String(), None, None),
    (Line | str, pl.String(), {"name": "tea"}, '{"name":"tea","price":null}'),
    (Literal[1, 2], pl.String(), 2, "2"),
]


@pytest.mark.parametrize(("annotation", "dtype", "given_", "kept"), FIELDS, ids=lambda each: str(each)[:40])
def test_a_field_has_its_annotations_type_and_keeps_its_value(annotation, dtype, given_, kept, tmp_path):
    """The column's type follows from the annotation alone, and a value comes back out of Parquet as it went in."""
    model = create_model("Some", field=(annotation, ...))
    fields = Fields(model)
    frame = pl.DataFrame([fields.row(model(field=given_))], schema=fields.columns, orient="row")
    frame.write_parquet(tmp_path / "field.parquet")
    read = pl.read_parquet(tmp_path / "field.parquet")
    assert read.schema == {"field": dtype}
    assert read.to_dicts() == [{"field": kept}]


def test_decimal_places_are_found_beside_the_field():
    """`Field(decimal_places=…)` as the field's default counts like one inside `Annotated`, with `| None` too."""

    class Money(BaseModel):
        plain: Decimal = Field(decimal_places=3)
        optional: Decimal | None = Field(None, decimal_places=4)

    assert Fields(Money).columns == {"plain": pl.Decimal(38, 3), "optional": pl.Decimal(38, 4)}


def test_columns_keep_the_order_of_the_fields():
    """A model's fields stand in the table as they stand in the model, inherited ones first."""

    class Longer(Line):
        note: str = ""
        amount: int = 0

    assert list(Fields(Longer).columns) == ["name", "price", "note", "amount"]


@pytest.mark.parametrize("name", schema.shipped())
def test_every_shipped_schema_has_a_column_for_each_field(name):
    """The shipped documents are tables as they stand, and none of their columns is one of the run's own."""
    model = schema.load(name).model
    found = Fields(model).columns
    assert list(found) == list(model.model_fields)
    assert found.keys().isdisjoint(columns.RESULTS)


def test_a_shipped_receipt_has_typed_columns():
    """Money, dates and lines of a receipt can be added, compared and unnested without a cast."""
    found = Fields(schema.load("receipt").model).columns
    assert found["date"] == pl.Date()
    assert found["total"] == pl.Decimal(38, 4)
    assert isinstance(found["line_items"], pl.List)
    assert isinstance(found["line_items"].inner, pl.Struct)


class Mixed(BaseModel):
    """A document with a field of most kinds."""

    text: str
    count: int | None
    share: float
    money: Cents | None
    day: date
    at: datetime
    lines: list[Line]
    extra: dict[str, str]


mixed = st.builds(
    Mixed,
    text=st.text(st.characters(exclude_categories=["Cs"])),
    count=st.none() | st.integers(-(2**63), 2**63 - 1),
    share=st.floats(allow_nan=False),
    money=st.none() | st.decimals(-(10**9), 10**9, places=2),
    day=st.dates(),
    at=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - what hypothesis asks for
    lines=st.lists(st.builds(Line, name=st.just("tea"), price=st.none() | st.decimals(0, 9999, places=2)), max_size=3),
    extra=st.dictionaries(st.sampled_from(["a", "b"]), st.just("x")),
)


@given(documents=st.lists(mixed, min_size=1, max_size=5))
def test_a_row_of_cells_says_what_the_document_said(documents):
    """Typed rows hold the documents' values, whatever stands in the rows around them."""
    fields = Fields(Mixed)
    frame = pl.DataFrame([fields.row(each) for each in documents], schema=fields.columns, orient="row")
    plain = frame.drop("extra").to_dicts()
    assert plain == [each.model_dump(exclude={"extra"}) for each in documents]
