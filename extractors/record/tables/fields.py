"""The column types of a schema's fields, and the cells of a validated document.

Validators may return values of other types than their annotation. Every value is checked against its column here, before
a table sees it.
"""

from __future__ import annotations

import enum
import json
import math
import types
from collections.abc import Sequence as AnySequence
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import polars as pl
from pydantic import (
    AwareDatetime,
    BaseModel,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
    SecretBytes,
    SecretStr,
)
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from extractors.core.annotations import expand_alias
from extractors.core.errors import ConfigurationError, first_line
from extractors.record.tables.columns import FLAG, INT, REAL, TEXT, TIME, Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic.fields import ComputedFieldInfo

    Cell = Callable[[object], object]
    Enclosing = tuple[type[BaseModel], ...]
    Column = tuple[pl.DataType, Cell]

T = TypeVar("T")
DECIMAL_DIGITS, DECIMAL_PLACES = 38, 6


class CellError(ValueError):
    """A value that its column cannot hold; the text names the field."""


class Fields:
    """The columns of one schema's fields and computed fields, and their cells for a validated document."""

    def __init__(self, model: type[BaseModel], within: tuple[type[BaseModel], ...] = ()) -> None:
        """Reads the model once; `within` are the models that contain it. Raises ConfigurationError for impossible columns."""
        self._model = model
        enclosing = (*within, model)
        self._cells: dict[str, Column] = {}
        for name, field in model.model_fields.items():
            dtype, to_cell = _name_field(name, field.annotation, enclosing, _decimal_places(field.metadata))
            self._cells[name] = dtype, _allow_none(to_cell) if field.default is None else to_cell
        self._computed = {
            name: _name_field(name, _return_type(info), enclosing) for name, info in model.model_computed_fields.items()
        }
        self.columns: Columns = {name: dtype for name, (dtype, _) in (self._cells | self._computed).items()}

    def row(self, document: BaseModel) -> dict[str, object]:
        """The document's fields as cells of their columns. Raises CellError for a value that its column cannot hold."""
        row: dict[str, object] = {}
        for name, (_, to_cell) in self._cells.items():
            try:
                row[name] = to_cell(getattr(document, name))
            except (ValueError, OverflowError, ArithmeticError) as error:
                raise CellError(f"{name}: {error}") from None
        for name, (_, to_cell) in self._computed.items():
            try:
                row[name] = to_cell(getattr(document, name))
            except Exception as error:  # noqa: BLE001 - the schema's own code computes it and may raise anything
                reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {first_line(error)}"
                raise CellError(f"{name}: {reason}") from None
        return row

    def field_cell(self, name: str, value: object) -> object:
        """The value of one field as the cell of its column. Raises ValueError or ArithmeticError for one it cannot hold."""
        return self._cells[name][1](value)

    def cell(self, value: object) -> dict[str, object]:
        """A nested document as the cell of a struct."""
        return self.row(_expect(value, self._model))


def _name_field(name: str, annotation: object, enclosing: Enclosing, places: int | None = None) -> Column:
    """The column of a field. Raises ConfigurationError with the field's name."""
    try:
        return _build_column(annotation, enclosing, places)
    except ValueError as error:
        raise ConfigurationError(f"schema {enclosing[0].__name__!r}: field {name!r}: {error}") from None


def _build_column(annotation: object, enclosing: Enclosing, places: int | None = None) -> Column:
    """The column type of an annotation, and the function that converts its values to cells."""
    annotation = expand_alias(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        own_places = _decimal_places(arguments[1:])
        return _build_column(arguments[0], enclosing, places if own_places is None else own_places)
    if origin in {Union, types.UnionType}:
        return _build_union_column(arguments, enclosing, places)
    if origin in _ARRAYS and len({*arguments} - {...}) == 1:
        dtype, to_cell = _build_column(arguments[0], enclosing)
        return pl.List(dtype), _list_cell(to_cell)
    if origin is Literal:
        return _build_literal_column(arguments)
    if isinstance(annotation, NewType):
        return _build_column(annotation.__supertype__, enclosing, places)
    if isinstance(annotation, type) and annotation not in {object, type(None)}:
        return _build_class_column(annotation, enclosing, places)
    return TEXT, _to_json if annotation in {Any, object, None, type(None)} else _require(_to_json)


def _build_union_column(arguments: tuple[object, ...], enclosing: Enclosing, places: int | None) -> Column:
    """Optional types have the column of their type; mixed unions are text.

    A union of scalars with text among them holds the text as it is, as a column of text does; all others hold JSON.
    """
    members = [member for member in map(expand_alias, arguments) if member is not type(None)]
    optional = len(members) < len(arguments)
    if len(members) == 1:
        dtype, to_cell = _build_column(members[0], enclosing, places)
    else:
        scalars = [_scalar_kind(member) for member in members]
        dtype, to_cell = TEXT, _require(_to_text if all(scalars) and "text" in scalars else _to_json)
    return dtype, _allow_none(to_cell) if optional else to_cell


def _build_literal_column(values: tuple[object, ...]) -> Column:
    """Text as it is where a value is text, else JSON; a literal None makes the field optional."""
    plain = [value.value if isinstance(value, enum.Enum) else value for value in values]
    texts = [value for value in plain if isinstance(value, str)]
    to_cell = _to_string if len(texts) == len(values) and texts == list(values) else _to_text if texts else _to_json
    return TEXT, to_cell if None in plain else _require(to_cell)


def _scalar_kind(annotation: object) -> Literal["", "text", "number"]:
    """Whether values of this type are text or numbers in JSON; empty for structures."""
    annotation = expand_alias(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _scalar_kind(arguments[0])
    if isinstance(annotation, NewType):
        return _scalar_kind(annotation.__supertype__)
    if origin is Literal:
        return "text" if any(isinstance(value, str) for value in arguments) else "number"
    if not isinstance(annotation, type) or issubclass(annotation, (BaseModel, *_ARRAY_VALUES, dict)):
        return ""
    if issubclass(annotation, enum.Enum):
        return "text" if any(isinstance(member.value, str) for member in annotation) else "number"
    return "number" if annotation in {bool, int, float} else "text"


def _build_class_column(cls: type, enclosing: Enclosing, places: int | None) -> Column:
    if issubclass(cls, BaseModel):
        if cls in enclosing or not (cls.model_fields or cls.model_computed_fields):  # recursive, or an empty struct
            return TEXT, _require(_to_json)
        fields = Fields(cls, enclosing)
        return pl.Struct(fields.columns), fields.cell
    if issubclass(cls, enum.Enum):
        return TEXT, _enum_cell(cls)
    if issubclass(cls, SecretStr | SecretBytes):
        raise ValueError(f"the value of a {cls.__name__} is masked in every table: use str or bytes")  # noqa: TRY004 - refused like all unfit types
    if cls is Decimal:
        return _build_decimal_column(DECIMAL_PLACES if places is None else places)
    return _PLAIN.get(cls, (TEXT, _require(_to_text)))


def _build_decimal_column(scale: int) -> Column:
    """Cells of at most 38 digits, of which `scale` are decimals; further decimals are rounded."""
    if not 0 <= scale <= DECIMAL_DIGITS:
        raise ValueError(f"a column holds at most {DECIMAL_DIGITS} digits, and decimal_places is {scale}")
    step, limit = Decimal(1).scaleb(-scale), Decimal(10) ** (DECIMAL_DIGITS - scale)
    context = Context(prec=2 * DECIMAL_DIGITS)

    def to_cell(value: object) -> object:
        number = _expect(value, Decimal)
        if not number.is_finite():
            raise ValueError(f"{number} is not a finite number")
        if abs(number) < limit:
            rounded = number.quantize(step, context=context)
            if abs(rounded) < limit:
                return rounded
        raise ValueError(f"a number of more than {DECIMAL_DIGITS - scale} digits before the point")

    return pl.Decimal(DECIMAL_DIGITS, scale), to_cell


def _decimal_places(metadata: Iterable[object]) -> int | None:
    """The `decimal_places` in a field's metadata, also in nested ones."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            places = _decimal_places(item.metadata)
        else:
            places = getattr(item, "decimal_places", None)
        if places is not None:
            return int(places)
    return None


def _return_type(info: ComputedFieldInfo) -> object:
    """The annotated type of a computed field, resolved."""
    if isinstance(info.return_type, str) or not isinstance(info.return_type, type):
        getter = getattr(info.wrapped_property, "fget", None) or getattr(info.wrapped_property, "func", None)
        try:
            return get_type_hints(getter, include_extras=True).get("return", info.return_type) if getter else object
        except NameError:  # imported for type checkers only
            return object
    return info.return_type


def _expect(value: object, *expected: type[T]) -> T:
    """The value, if it has one of these types. Raises ValueError for what a validator returned instead."""
    if isinstance(value, expected):
        return value
    returned = "None" if value is None else f"a value of type {type(value).__name__}"
    raise ValueError(f"the schema's own code returned {returned} instead of {expected[0].__name__}")


def _expect_only(value: object, expected: type[T], subclass: type) -> T:
    """As `_expect`, without the values of a subclass that is another kind of value."""
    returned = f"the schema's own code returned a value of type {subclass.__name__} instead of {expected.__name__}"
    if isinstance(value, subclass):
        raise ValueError(returned)  # noqa: TRY004 - a document's failure, like all bad values
    return _expect(value, expected)


def _allow_none(to_cell: Cell) -> Cell:
    return lambda value: None if value is None else to_cell(value)


def _require(to_cell: Cell) -> Cell:
    """Refuses None, which no validator may return for a field that is not optional."""

    def to_required(value: object) -> object:
        if value is None:
            raise ValueError("the schema's own code returned None instead of a value")
        return to_cell(value)

    return to_required


def _list_cell(to_cell: Cell) -> Cell:
    def to_items(value: object) -> object:
        items: Iterable[object] = _expect(value, *_ARRAY_VALUES)
        return [to_cell(item) for item in items]

    return to_items


def _enum_cell(cls: type[enum.Enum]) -> Cell:
    """Cells of an enum's values, also where `use_enum_values` has replaced the members."""
    values = {member.value for member in cls}

    def to_cell(value: object) -> object:
        known = not isinstance(value, enum.Enum) and any(value == each for each in values)
        plain = value if known else _expect(value, cls).value
        return None if plain is None else str(plain)

    return to_cell


def _to_json(value: object) -> object:
    """JSON text, for types without a column type of their own."""
    return None if value is None else _dump_json(to_jsonable_python(value))


def _dump_json(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _to_text(value: object) -> object:
    """The text of a value that is text in JSON (a URL, a UUID), else its JSON."""
    plain = to_jsonable_python(value)
    return plain if isinstance(plain, str) or plain is None else _dump_json(plain)


def _to_string(value: object) -> object:
    text = _expect(value, str)
    if not text.isascii():
        text.encode()  # raises UnicodeEncodeError, a ValueError, for half a surrogate pair
    return text


def _to_flag(value: object) -> object:
    return _expect(value, bool)


def _to_int(value: object) -> object:
    number = _expect_only(value, int, bool)
    if not -(2**63) <= number < 2**63:
        raise ValueError("a whole number of more than 64 bits")
    return int(number)


def _to_float(value: object) -> object:
    number = float(value) if isinstance(value, int) and not isinstance(value, bool) else _expect(value, float)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def _to_date(value: object) -> object:
    return _expect_only(value, date, datetime)


def _to_time(value: object) -> object:
    return _expect(value, time)


def _to_utc(value: object) -> object:
    """A time in UTC, the only zone of the tables; naive times count as UTC."""
    moment = _expect(value, datetime)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_ARRAYS: frozenset[object] = frozenset({list, tuple, set, frozenset, AnySequence})
_ARRAY_VALUES: tuple[type, ...] = (list, tuple, set, frozenset)
# pydantic's own classes stand for the plain type in an annotation, and validate to it.
_DATES: tuple[type, ...] = (date, PastDate, FutureDate)
_TIMES: tuple[type, ...] = (datetime, AwareDatetime, NaiveDatetime, PastDatetime, FutureDatetime)
_PLAIN: dict[type, Column] = {
    bool: (FLAG, _to_flag),
    int: (INT, _to_int),
    float: (REAL, _to_float),
    str: (TEXT, _to_string),
    time: (pl.Time(), _to_time),
    **dict.fromkeys(_DATES, (pl.Date(), _to_date)),
    **dict.fromkeys(_TIMES, (TIME, _to_utc)),
}
