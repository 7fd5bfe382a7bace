"""The columns of every published table, in order, and the column types of a schema's fields.

Types come from here and from the schema's model, never from data, so that any two files of a table can be read together.
"""

from __future__ import annotations

import enum
import json
import types
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Annotated, Literal, NewType, Union, get_args, get_origin

import polars as pl
from pydantic import (
    AwareDatetime,
    BaseModel,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
)
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Cell = Callable[[object], object]
    Around = tuple[type[BaseModel], ...]

Columns = dict[str, pl.DataType]

MONEY = pl.Decimal(18, 9)
TIME = pl.Datetime("us", "UTC")
TEXT, INT, PX, FLAG, REAL = pl.String(), pl.Int64(), pl.Int32(), pl.Boolean(), pl.Float64()
DECIMAL_DIGITS, DECIMAL_PLACES = 38, 6

RESULTS: Columns = {
    "_image": TEXT,
    "_document": TEXT,
    "_pages": pl.List(pl.String()),
    "_version": TEXT,
    "_modified": TIME,
    "_key": TEXT,
    "_sha256": TEXT,
    "_run": TEXT,
    "_extracted_at": TIME,
    "_model_requested": TEXT,
    "_model": TEXT,
    "_schema_hash": TEXT,
    "_prompt_hash": TEXT,
    "_action": TEXT,
    "_encoded": FLAG,
    "_rung": INT,
    "_width": PX,
    "_height": PX,
    "_sent_width": PX,
    "_sent_height": PX,
    "_attempts": INT,
    "_image_tokens_estimated": INT,
    "_prompt_tokens": INT,
    "_completion_tokens": INT,
    "_cost_usd": MONEY,
    "_copied_from": TEXT,
    "_manifest": TEXT,
}
REPLIES: Columns = {"run": TEXT, "document": TEXT, "key": TEXT, "attempt": INT, "outcome": TEXT, "reply": TEXT}
CALLS: Columns = {
    "run": TEXT,
    "document": TEXT,
    "key": TEXT,
    "schema": TEXT,
    "endpoint": TEXT,
    "attempt": INT,
    "rung": INT,
    "pages": INT,
    "started_at": TIME,
    "seconds": REAL,
    "http_status": INT,
    "outcome": TEXT,
    "billed": TEXT,
    "model_requested": TEXT,
    "model_returned": TEXT,
    "bill_rule": TEXT,
    "payload_bytes": INT,
    "sent_width": PX,
    "sent_height": PX,
    "estimated_image_tokens": INT,
    "estimated_prompt_tokens": INT,
    "prompt_tokens": INT,
    "cached_tokens": INT,
    "completion_tokens": INT,
    "reasoning_tokens": INT,
    "residual_tokens": INT,
    "price_input": MONEY,
    "price_cached": MONEY,
    "price_output": MONEY,
    "price_as_of": pl.Date(),
    "reserved_usd": MONEY,
    "cost_usd": MONEY,
    "finish_reason": TEXT,
    "request_id": TEXT,
    "error": TEXT,
}
IMAGES: Columns = {
    "run": TEXT,
    "document": TEXT,
    "schema": TEXT,
    "page": INT,
    "image": TEXT,
    "size": INT,
    "version": TEXT,
    "modified": TIME,
    "format": TEXT,
    "width": PX,
    "height": PX,
    "frames": INT,
    "orientation": INT,
    "action": TEXT,
    "reason": TEXT,
    "note": TEXT,
    "rung": INT,
    "scale": REAL,
    "tokens_formula": INT,
    "tokens_table": INT,
    "tokens_planned": INT,
    "cost_low_usd": MONEY,
    "cost_expected_usd": MONEY,
    "cost_high_usd": MONEY,
}
FAILURES: Columns = {
    "run": TEXT,
    "document": TEXT,
    "image": TEXT,
    "schema": TEXT,
    "version": TEXT,
    "schema_hash": TEXT,
    "prompt_hash": TEXT,
    "model_requested": TEXT,
    "stage": TEXT,
    "kind": TEXT,
    "message": TEXT,
    "final": FLAG,
    "tries": INT,
    "attempts": INT,
    "cost_usd": MONEY,
    "failed_at": TIME,
}
FIELDS: Columns = {
    "run": TEXT,
    "schema": TEXT,
    "field": TEXT,
    "rows": INT,
    "nulls": INT,
    "distinct": INT,
    "min": TEXT,
    "max": TEXT,
    "mean_length": REAL,
}
RUNS: Columns = {
    "run": TEXT,
    "volume": INT,
    "flow": TEXT,
    "schema": TEXT,
    "source": TEXT,
    "model": TEXT,
    "endpoint": TEXT,
    "policy": TEXT,
    "bill_rule": TEXT,
    "output": TEXT,
    "job": TEXT,
    "status": TEXT,
    "started_at": TIME,
    "finished_at": TIME,
    "found": INT,
    "skipped": INT,
    "skipped_failed": INT,
    "duplicates": INT,
    "rejected": INT,
    "accepted": INT,
    "failed": INT,
    "remaining": INT,
    "calls": INT,
    "prompt_tokens": INT,
    "cached_tokens": INT,
    "completion_tokens": INT,
    "reasoning_tokens": INT,
    "estimated_low_usd": MONEY,
    "estimated_expected_usd": MONEY,
    "estimated_high_usd": MONEY,
    "cost_usd": MONEY,
    "cost_wasted_usd": MONEY,
    "cost_unknown_usd": MONEY,
    "residual_tokens": INT,
    "warnings": pl.List(pl.String()),
    "error": TEXT,
    "prefect_flow_run_id": TEXT,
    "approved_by": TEXT,
    "version": TEXT,
    "passed_over": TEXT,
}


class CellError(ValueError):
    """A value that its column cannot hold; the text names the field."""


class Fields:
    """The columns of one schema's fields, and how a validated document fills them."""

    def __init__(self, model: type[BaseModel], within: tuple[type[BaseModel], ...] = ()) -> None:
        """Reads the model once; `row` is called for every document. `within` are the models that this one is part of."""
        around = (*within, model)
        self._cells = {
            name: _column(field.annotation, around, _places(field.metadata))
            for name, field in model.model_fields.items()
        }
        self.columns: Columns = {name: dtype for name, (dtype, _) in self._cells.items()}

    def row(self, document: BaseModel) -> dict[str, object]:
        """The document's fields as cells of their columns. Raises CellError for a value that no cell can hold."""
        row: dict[str, object] = {}
        for name, (_, to_cell) in self._cells.items():
            try:
                row[name] = to_cell(getattr(document, name))
            except (ValueError, OverflowError, ArithmeticError) as error:
                raise CellError(f"{name}: {error}") from None
        return row

    def cell(self, value: object) -> object:
        """A nested document as the cell of a struct."""
        assert isinstance(value, BaseModel)
        return self.row(value)


def _column(annotation: object, around: Around, places: int | None = None) -> tuple[pl.DataType, Cell]:
    """The column type of an annotation, and what turns its values into cells. Null is allowed everywhere."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        named = _places(arguments[1:])
        return _column(arguments[0], around, places if named is None else named)
    if origin in {Union, types.UnionType}:
        members = [each for each in arguments if each is not type(None)]
        if len(members) == 1:
            dtype, to_cell = _column(members[0], around, places)
            return dtype, lambda value: None if value is None else to_cell(value)
        return TEXT, _json
    if origin in {list, tuple, set, frozenset} and len({*arguments} - {...}) == 1:
        dtype, to_cell = _column(arguments[0], around)
        return pl.List(dtype), lambda value: [to_cell(each) for each in value]
    if origin is Literal and all(isinstance(each, str) for each in arguments):
        return TEXT, _same
    if isinstance(annotation, NewType):
        return _column(annotation.__supertype__, around, places)
    return _class_column(annotation, around, places) if isinstance(annotation, type) else (TEXT, _json)


def _class_column(cls: type, around: Around, places: int | None) -> tuple[pl.DataType, Cell]:
    if issubclass(cls, BaseModel):
        if cls in around or not cls.model_fields:  # a column has an end, and a struct has something in it
            return TEXT, _json
        fields = Fields(cls, around)
        return pl.Struct(fields.columns), fields.cell
    if issubclass(cls, enum.Enum):
        return TEXT, lambda value: str(value.value)
    if cls is Decimal:
        scale = DECIMAL_PLACES if places is None else places
        return pl.Decimal(DECIMAL_DIGITS, scale), _decimal(scale)
    return _PLAIN.get(cls, (TEXT, _text))


def _places(metadata: Iterable[object]) -> int | None:
    """The `decimal_places` that a field's metadata asks for, however deep pydantic keeps it."""
    for each in metadata:
        places = _places(each.metadata) if isinstance(each, FieldInfo) else getattr(each, "decimal_places", None)
        if places is not None:
            return int(places)
    return None


def _same(value: object) -> object:
    return value


def _json(value: object) -> object:
    """JSON text, of whatever has no column of its own."""
    return None if value is None else _dumped(to_jsonable_python(value))


def _dumped(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _text(value: object) -> object:
    """The text of a value that JSON writes as text (a URL, a UUID), else its JSON."""
    plain = to_jsonable_python(value)
    return plain if isinstance(plain, str) or plain is None else _dumped(plain)


def _int(value: object) -> object:
    assert isinstance(value, int)
    if not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of more than 64 bits")
    return value


def _decimal(scale: int) -> Cell:
    """Cells of at most 38 digits, of which `scale` are decimals; further decimals are rounded."""
    step, most = Decimal(1).scaleb(-scale), Decimal(10) ** (DECIMAL_DIGITS - scale)
    context = Context(prec=2 * DECIMAL_DIGITS)

    def to_cell(value: object) -> object:
        assert isinstance(value, Decimal)
        if not value.is_finite() or abs(value) >= most:
            raise ValueError(f"a number of more than {DECIMAL_DIGITS - scale} digits before the point")
        return value.quantize(step, context=context)

    return to_cell


def _utc(value: object) -> object:
    """A naive time is taken as UTC, the only zone that a table keeps."""
    assert isinstance(value, datetime)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# pydantic's own classes stand for the plain type in an annotation, and validate to it.
_DATES: tuple[type, ...] = (date, PastDate, FutureDate)
_TIMES: tuple[type, ...] = (datetime, AwareDatetime, NaiveDatetime, PastDatetime, FutureDatetime)
_PLAIN: dict[type, tuple[pl.DataType, Cell]] = {
    bool: (FLAG, _same),
    int: (INT, _int),
    float: (REAL, _same),
    str: (TEXT, _same),
    time: (pl.Time(), _same),
    **dict.fromkeys(_DATES, (pl.Date(), _same)),
    **dict.fromkeys(_TIMES, (TIME, _utc)),
}
