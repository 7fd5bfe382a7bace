"""Type annotations of users' models: type aliases resolved, and every model that one model contains."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    from collections.abc import Iterator


def expand_alias(annotation: object) -> object:
    """The annotation that a type alias (`type X = ...`) stands for, with its arguments; others unchanged."""
    while True:
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif isinstance(origin := get_origin(annotation), TypeAliasType):
            annotation = origin.__value__[get_args(annotation)]
        else:
            return annotation


def find_models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and all models in its fields, each once."""
    found: dict[type[BaseModel], None] = {model: None}
    waiting = [model]
    while waiting:
        for field in waiting.pop().model_fields.values():
            for inner in iter_models(field.annotation):
                if inner not in found:
                    found[inner] = None
                    waiting.append(inner)
    return list(found)


def iter_models(annotation: object, depth: int = 0) -> Iterator[type[BaseModel]]:
    """Yields the models in an annotation; `depth` counts its nested arguments."""
    annotation = expand_alias(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif depth < _MAX_DEPTH:  # an alias may contain itself
        for argument in get_args(annotation):
            yield from iter_models(argument, depth + 1)


_MAX_DEPTH = 20
