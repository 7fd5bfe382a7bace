"""Values as plain numbers, moments and texts, however they are held: in a document, a cell of a table or a label."""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

ARRAYS = (list, tuple, set, frozenset)
_GROUPED = re.compile(r"[^\d.,+\-]*([+\-]?)[^\d.,+\-]*(\d{1,3}(?:,\d{3})+|\d+)?(\.\d+)?[^\d.,]*")


def members(value: object) -> Mapping[str, object]:
    """The fields of a nested document, which may be a model or the cell of a struct."""
    if isinstance(value, BaseModel):
        names = (*type(value).model_fields, *type(value).model_computed_fields)
        return {name: getattr(value, name) for name in names}
    return value if isinstance(value, Mapping) else {}


def is_null(value: object) -> bool:
    """Whether a value says that nothing is there: None, blank text, and structures of nothing else."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, ARRAYS):
        return not value
    if isinstance(value, BaseModel | Mapping):
        return all(is_null(member) for member in members(value).values())
    return value is None


def to_number(value: object) -> Decimal | float:
    """A number, also from text: `21.10`, `$8.20`, `1,234.50`. Raises ValueError for what is not one number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError(f"{value!r} is no number")  # noqa: TRY004 - one error for all that is no number
    if not isinstance(value, str):
        return value if isinstance(value, float) else Decimal(value)
    try:
        return Decimal(value.strip())
    except InvalidOperation:
        grouped = _GROUPED.fullmatch(value.strip())
    if grouped is None or not (grouped[2] or grouped[3]):
        raise ValueError(f"{value!r} is no number")
    return Decimal(f"{grouped[1]}{(grouped[2] or '0').replace(',', '')}{grouped[3] or ''}")


def is_same_number(read: Decimal | float, true: Decimal | float) -> bool:
    """Whether two numbers are equal by value; a float by the digits that it can hold."""
    if isinstance(read, float) or isinstance(true, float):
        return math.isclose(read, true, rel_tol=1e-9)
    return read == true


def to_moment(value: object) -> date:
    """A day, or a time of a day in UTC, also from ISO 8601 text. Raises ValueError for what is neither."""
    if isinstance(value, str):
        text = value.strip()
        value = date.fromisoformat(text) if len(text) <= len("2018-03-22") else datetime.fromisoformat(text)
    if not isinstance(value, date):
        raise ValueError(f"{value!r} is no date")  # noqa: TRY004 - as above
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def is_same_moment(read: date, true: date) -> bool:
    """Whether two times are the same instant; the same day where one is a day only."""
    if isinstance(read, datetime) and isinstance(true, datetime):
        return read == true
    days = [moment.date() if isinstance(moment, datetime) else moment for moment in (read, true)]
    return days[0] == days[1]


def to_time(value: object) -> time:
    """A time of day, also from ISO 8601 text. Raises ValueError for what is not one."""
    if isinstance(value, str):
        value = time.fromisoformat(value.strip())
    if not isinstance(value, time):
        raise ValueError(f"{value!r} is no time of day")  # noqa: TRY004 - as above
    return value.replace(tzinfo=None)


def to_flag(value: object) -> bool:
    """True or false, also from text. Raises ValueError for anything else."""
    word = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(word, bool | str) or word not in {True, False, "true", "false"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return word in {True, "true"}


def to_choice(value: object) -> str:
    """The text of one of several fixed values: text as it is, others as JSON."""
    plain = value.value if isinstance(value, enum.Enum) else value
    return plain if isinstance(plain, str) else json.dumps(plain, default=str)


def to_text(value: object) -> str:
    """The text of a scalar, as its JSON has it."""
    plain = to_jsonable_python(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def canonical_json(value: object) -> str:
    """JSON in one form: keys sorted, nulls left out, numbers by value; text that holds a JSON structure is read."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            value = json.loads(value, parse_float=Decimal)
        except ValueError:
            return json.dumps(value, ensure_ascii=False)
    return _dump(value, fold=False)


def canonical_text(value: object) -> str:
    """As `canonical_json`, with texts in one case and spacing: two readings of a field agree where this is equal."""
    return _dump(value, fold=True)


def _dump(value: object, *, fold: bool) -> str:
    if isinstance(value, BaseModel | Mapping):
        given = {str(name): member for name, member in members(value).items() if member is not None}
        pairs = (f"{json.dumps(name)}:{_dump(given[name], fold=fold)}" for name in sorted(given))
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, ARRAYS):
        items = [_dump(item, fold=fold) for item in cast("list[object]", value)]
        return f"[{','.join(sorted(items) if isinstance(value, set | frozenset) else items)}]"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool | enum.Enum):
        return _dump_number(Decimal(str(value)))
    plain = to_jsonable_python(value)
    return json.dumps(
        " ".join(plain.split()).casefold() if fold and isinstance(plain, str) else plain, ensure_ascii=False
    )


def _dump_number(number: Decimal) -> str:
    """A number without the zeros that its writing adds."""
    if not number.is_finite():
        return str(number)
    written = format(number, "f")
    return "0" if not number else written.rstrip("0").rstrip(".") if "." in written else written
