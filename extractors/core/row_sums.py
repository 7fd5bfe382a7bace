"""Row sums: the lists of a schema whose rows add up to a total, as its file declares them in `ROWS_SUM_TO`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, NewType, NoReturn, Union, get_args, get_origin

from pydantic import BaseModel

from extractors.core.annotations import expand_alias
from extractors.core.errors import ConfigurationError, suggest_name

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLE = '{"line_items.amount": "subtotal"}'
_NUMBERS = (int, float, Decimal)


@dataclass(frozen=True, slots=True)
class RowSum:
    """A list whose rows add up to a total: the names of the list, of the field of each row, and of the total."""

    rows: str
    amount: str
    total: str

    @property
    def field(self) -> str:
        """The field that is summed, as `ROWS_SUM_TO` names it."""
        return f"{self.rows}.{self.amount}"


def read_row_sums(published: str, model: type[BaseModel], module: ModuleType) -> tuple[RowSum, ...]:
    """The module's `ROWS_SUM_TO`; none by default. Raises ConfigurationError that says what is allowed."""
    declared = getattr(module, "ROWS_SUM_TO", {})
    if not isinstance(declared, dict) or not all(isinstance(name, str) for pair in declared.items() for name in pair):
        _refuse(published, module, f"must name a list's numbers and their total, as {EXAMPLE}")
    try:
        return tuple(_read_row_sum(field, total, model) for field, total in declared.items())
    except ValueError as error:
        _refuse(published, module, str(error))


def _refuse(published: str, module: ModuleType, why: str) -> NoReturn:
    path = Path(module.__file__ or module.__name__).resolve()
    file = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    raise ConfigurationError(f"schema {published!r}: {file}: ROWS_SUM_TO {why}")


def _read_row_sum(field: str, total: str, model: type[BaseModel]) -> RowSum:
    """One declaration. Raises ValueError."""
    rows, _, amount = field.partition(".")
    if not rows or not amount or "." in amount:
        raise ValueError(
            f"names {field!r}: write a list of the document and a number of its rows, as line_items.amount"
        )
    row = _row_model(_annotation(rows, model))
    if row is None:
        raise ValueError(
            f"names {field!r}, and {rows!r} of {model.__name__} is not a list of one model: it must be one, such as"
            " list[LineItem], and not optional"
        )
    for name, owner in ((amount, row), (total, model)):
        if not _is_number(_annotation(name, owner)):
            raise ValueError(
                f"names {name!r}, which is no number of {owner.__name__}: use Decimal, int or float, which may be null"
            )
    return RowSum(rows, amount, total)


def _annotation(name: str, model: type[BaseModel]) -> object:
    if name not in model.model_fields:
        hint = suggest_name(name, model.model_fields)
        raise ValueError(f"names {name!r}, which is no field of {model.__name__}{hint}")
    return model.model_fields[name].annotation


def _row_model(annotation: object) -> type[BaseModel] | None:
    """The model of a list's rows; None where the annotation is no list of one model."""
    annotation = _strip(annotation)
    origin, arguments = get_origin(annotation), [each for each in get_args(annotation) if each is not Ellipsis]
    if origin not in {list, tuple, Sequence} or len(arguments) != 1:
        return None
    row = _strip(arguments[0])
    return row if isinstance(row, type) and issubclass(row, BaseModel) else None


def _is_number(annotation: object) -> bool:
    """Whether all values of this annotation but None are numbers."""
    annotation = _strip(annotation)
    if get_origin(annotation) in {Union, UnionType}:
        options = [each for each in get_args(annotation) if each is not NoneType]
        return bool(options) and all(map(_is_number, options))
    return isinstance(annotation, type) and issubclass(annotation, _NUMBERS) and not issubclass(annotation, bool | Enum)


def _strip(annotation: object) -> object:
    """The annotation without aliases, metadata and new names."""
    while True:
        annotation = expand_alias(annotation)
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        else:
            return annotation
