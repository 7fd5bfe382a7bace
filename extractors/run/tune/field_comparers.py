"""The comparers of a schema's fields, by their annotations, and the comparisons of one document with its label."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, SecretBytes, SecretStr, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError

from extractors.core.annotations import expand_alias
from extractors.core.errors import ConfigurationError, format_value, suggest_name
from extractors.run.tune import field_matchers
from extractors.run.tune.field_matchers import ListMatcher, Matcher, ObjectMatcher, SequenceMatcher
from extractors.run.tune.measurements import FieldComparison, FieldKind, FieldMatch

Models = tuple[type[BaseModel], ...]

_ARRAYS: tuple[object, ...] = (list, tuple, set, frozenset, Sequence)
_CLASSES: dict[type, Matcher] = {
    bool: field_matchers.FLAG,
    **dict.fromkeys((int, float, Decimal), field_matchers.NUMBER),
    **dict.fromkeys((datetime, date), field_matchers.DATE),
    time: field_matchers.TIME,
    str: field_matchers.TEXT,
    dict: field_matchers.JSON,
}
_JSON_TYPES: dict[object, Matcher] = {  # by `format`, else by `type`
    **dict.fromkeys(("date", "date-time"), field_matchers.DATE),
    "time": field_matchers.TIME,
    "string": field_matchers.TEXT,
    "number": field_matchers.NUMBER,
    "integer": field_matchers.NUMBER,
    "boolean": field_matchers.FLAG,
    "object": field_matchers.JSON,
}


class _NotComparableError(Exception):
    """Values of this type cannot be compared."""


@dataclass(frozen=True, slots=True)
class FieldComparer:
    """Compares the values of one field."""

    field: str
    matcher: Matcher

    @property
    def kind(self) -> FieldKind:
        """The kind of field."""
        return self.matcher.kind

    def compare(self, read: object, true: object) -> FieldMatch:
        """The read value beside the true one. Raises ConfigurationError for a true value of another type."""
        try:
            return self.matcher.match(read, true)
        except ValueError:
            raise ConfigurationError(
                f"field {self.field!r}: the true value {format_value(true)} is of another type: the field is of kind"
                f" {self.kind}"
            ) from None


def build_comparers(model: type[BaseModel], fields: Iterable[str]) -> dict[str, FieldComparer]:
    """The comparers of these fields. Raises ConfigurationError for an unknown field, and for one of no comparable type."""
    annotations = {name: info.annotation for name, info in model.model_fields.items()} | {
        name: info.return_type for name, info in model.model_computed_fields.items()
    }
    comparers: dict[str, FieldComparer] = {}
    for field in fields:
        if field not in annotations:
            hint = suggest_name(field, annotations)
            raise ConfigurationError(f"schema {model.__name__!r} has no field {field!r}{hint}")
        try:
            comparers[field] = FieldComparer(field, _build_matcher(annotations[field], (model,)))
        except _NotComparableError as error:
            raise ConfigurationError(
                f"schema {model.__name__!r}: field {field!r}: values of type {error} cannot be compared with a label:"
                " leave the field out of the truth"
            ) from None
    return comparers


def compare_document(
    comparers: Mapping[str, FieldComparer],
    read: Mapping[str, object] | None,
    label: Mapping[str, object],
    document: str,
    rung: int,
) -> tuple[FieldComparison, ...]:
    """The comparisons of the fields that the label gives. `read` None: the answer was not accepted, all are wrong."""
    return tuple(
        FieldComparison(document, field, comparer.kind, rung, _compare_field(comparer, read, label[field]))
        for field, comparer in comparers.items()
        if field in label
    )


def _compare_field(comparer: FieldComparer, read: Mapping[str, object] | None, true: object) -> FieldMatch:
    if read is not None:
        return comparer.compare(read.get(comparer.field), true)
    unread = comparer.compare(None, true)
    return replace(unread, right=False, similarity=0.0, read_null=True)


def _build_matcher(annotation: object, within: Models) -> Matcher:
    annotation = expand_alias(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _build_matcher(arguments[0], within)
    if origin in {Union, types.UnionType}:
        return _build_union_matcher(arguments, within)
    if origin is Literal:
        return field_matchers.CHOICE
    if origin in _ARRAYS or annotation in _ARRAYS:
        return _build_list_matcher(origin or annotation, arguments, within)
    if isinstance(annotation, NewType):
        return _build_matcher(annotation.__supertype__, within)
    if annotation in {Any, object}:
        return field_matchers.JSON
    if isinstance(annotation, type):
        return _build_class_matcher(annotation, within)
    return _build_class_matcher(origin, within) if isinstance(origin, type) else field_matchers.JSON


def _build_union_matcher(arguments: Sequence[object], within: Models) -> Matcher:
    """One matcher where all members have the same; text where scalars are mixed with text; else JSON."""
    matchers = [_build_matcher(each, within) for each in arguments if expand_alias(each) is not type(None)]
    if all(matcher == matchers[0] for matcher in matchers[1:]):
        return matchers[0] if matchers else field_matchers.JSON
    kinds = {matcher.kind for matcher in matchers}
    return field_matchers.TEXT if "text" in kinds and not kinds & {"list", "object", "json"} else field_matchers.JSON


def _build_list_matcher(origin: object, arguments: Sequence[object], within: Models) -> Matcher:
    """A list's rows come in any order; the places of a tuple, and of a list within a list, matter."""
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return SequenceMatcher(tuple(_build_matcher(each, within) for each in arguments))
    item = _build_matcher(arguments[0], within) if arguments else field_matchers.JSON
    return ListMatcher(SequenceMatcher((item.item,)) if isinstance(item, ListMatcher) else item)


def _build_class_matcher(cls: type, within: Models) -> Matcher:
    if issubclass(cls, BaseModel):
        if cls in within:  # a model within itself is held as JSON
            return field_matchers.JSON
        fields = {name: info.annotation for name, info in cls.model_fields.items()}
        return ObjectMatcher({name: _build_matcher(each, (*within, cls)) for name, each in fields.items()})
    if issubclass(cls, enum.Enum):
        return field_matchers.CHOICE
    if issubclass(cls, SecretStr | SecretBytes):
        raise _NotComparableError(cls.__name__)
    known = next((_CLASSES[base] for base in cls.__mro__ if base in _CLASSES), None)
    return known or _match_json_type(cls)


def _match_json_type(cls: type) -> Matcher:
    """The matcher of what pydantic writes for values of this class."""
    try:
        written = TypeAdapter(cls).json_schema(mode="serialization")
    except (PydanticUserError, PydanticSchemaGenerationError):
        raise _NotComparableError(cls.__name__) from None
    matcher = _JSON_TYPES.get(written.get("format")) or _JSON_TYPES.get(written.get("type"))
    if matcher is None:
        raise _NotComparableError(cls.__name__)
    return matcher
