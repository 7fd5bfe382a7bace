"""The columns of every published table, in order, and the column types of a schema's fields.

Types come from here and from the schema's model, never from data, so that any two files of a table can be read together.
"""

from __future__ import annotations

import enum
import types
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin

import orjson
import polars as pl
from pydantic import BaseModel
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Cell = Callable[[object], object]

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
}


class Fields:
    """The columns of one schema's fields, and how a validated document fills them."""

    def __init__(self, model: type[BaseModel]) -> None:
        """Reads the model once; `row` is called for every document."""
        self._cells = {
            name: _column(field.annotation, _places(field.metadata)) for name, field in model.model_fields.items()
        }
        self.columns: Columns = {name: dtype for name, (dtype, _) in self._cells.items()}

    def row(self, document: BaseModel) -> dict[str, object]:
        """The document's fields as cells of their columns."""
        return {name: to_cell(getattr(document, name)) for name, (_, to_cell) in self._cells.items()}

    def cell(self, value: object) -> object:
        """A nested document as the cell of a struct."""
        assert isinstance(value, BaseModel)
        return self.row(value)


_PLAIN: dict[type, pl.DataType] = {
    bool: FLAG,
    int: INT,
    float: REAL,
    str: TEXT,
    datetime: TIME,
    date: pl.Date(),
    time: pl.Time(),
    Decimal: pl.Decimal(DECIMAL_DIGITS, DECIMAL_PLACES),
}


def _column(annotation: object, places: int | None = None) -> tuple[pl.DataType, Cell]:
    """The column type of an annotation, and what turns its values into cells. Null is allowed everywhere."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _column(arguments[0], _places(arguments[1:]) or places)
    if origin in {Union, types.UnionType}:
        members = [each for each in arguments if each is not type(None)]
        if len(members) == 1:
            dtype, to_cell = _column(members[0], places)
            return dtype, lambda value: None if value is None else to_cell(value)
        return _json()
    if origin in {list, tuple, set, frozenset} and len({*arguments} - {...}) == 1:
        dtype, to_cell = _column(arguments[0])
        return pl.List(dtype), lambda value: [to_cell(each) for each in value]
    if origin is Literal and all(isinstance(each, str) for each in arguments):
        return TEXT, _same
    if isinstance(annotation, type):
        return _class_column(annotation, places)
    return _json()


def _class_column(cls: type, places: int | None) -> tuple[pl.DataType, Cell]:
    if issubclass(cls, BaseModel):
        fields = Fields(cls)
        return pl.Struct(fields.columns), fields.cell
    if issubclass(cls, enum.Enum):
        return TEXT, lambda value: str(value.value)
    if cls is Decimal and places is not None:
        return pl.Decimal(DECIMAL_DIGITS, places), _same
    if cls in _PLAIN:
        return _PLAIN[cls], _utc if cls is datetime else _same
    return _json()


def _places(metadata: Iterable[object]) -> int | None:
    """The `decimal_places` that a field's metadata asks for, however deep pydantic keeps it."""
    for each in metadata:
        places = _places(each.metadata) if isinstance(each, FieldInfo) else getattr(each, "decimal_places", None)
        if places is not None:
            return int(places)
    return None


def _json() -> tuple[pl.DataType, Cell]:
    return TEXT, lambda value: None if value is None else orjson.dumps(value, default=_plain).decode()


def _plain(value: object) -> object:
    """What orjson does not know: models by their fields, everything else by its text."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _same(value: object) -> object:
    return value


def _utc(value: object) -> object:
    """A naive time is taken as UTC, the only zone that a table keeps."""
    assert isinstance(value, datetime)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
