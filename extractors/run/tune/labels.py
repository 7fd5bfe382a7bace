"""Labels: the true values of documents of a source, from a file of truth or of corrections (record/tables/truth.py).

A label names its document by its whole name, or by the end of it where only one document ends so. Fields that it leaves
out are not scored. A column or key `draw` says how the document was chosen, as in `tuning/<run>-label-next.csv`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast, get_args

from pydantic import TypeAdapter, ValidationError

from extractors.core.errors import ConfigurationError, format_value
from extractors.record.tables.fields import Fields
from extractors.record.tables.truth import TruthLine, read_truth
from extractors.run.tune.measurements import Draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from extractors.core import Document

DRAW = "draw"
LEAST_DOCUMENTS = 2  # with fewer nothing can be held out
NAMED = 3  # documents that a message names


@dataclass(frozen=True, slots=True)
class Label:
    """A labelled document: its true values as cells of the schema's columns, and how it was chosen."""

    document: Document
    cells: Mapping[str, object]
    draw: Draw = "random"


@dataclass(frozen=True, slots=True)
class Labels:
    """The labelled documents of a source in its order, and the names of the others."""

    labelled: tuple[Label, ...]
    unlabelled: tuple[str, ...]

    @property
    def fields(self) -> list[str]:
        """The fields that a label has a value for, in the order of the schema."""
        return list(dict.fromkeys(name for label in self.labelled for name in label.cells))


def read_labels(path: str, model: type[BaseModel], documents: Iterable[Document]) -> Labels:
    """Reads the file of truth for these documents. Raises ConfigurationError as `label_documents`."""
    lines = read_truth(path)
    if not lines:
        raise ConfigurationError(f"{path} holds no labels: each line names a document and gives its true values")
    return label_documents(path, lines, model, documents)


def label_documents(
    path: str, lines: Sequence[TruthLine], model: type[BaseModel], documents: Iterable[Document]
) -> Labels:
    """The labels of these documents, from the lines of a file.

    Raises ConfigurationError that names the line for an unknown field, an unknown or ambiguous document, a second line
    of one document, or a value of another type; and where fewer than two documents have a label.
    """
    reader = _LabelReader(model)
    values = [reader.read(line) for line in lines]
    matched, unlabelled = _match_documents(lines, documents)
    _check_matches(path, lines, matched)
    labels = [Label(matched[line.document], cells, draw) for line, (cells, draw) in zip(lines, values, strict=True)]
    _check_labels(path, lines, labels)
    places = {name: place for place, name in enumerate(dict.fromkeys(each.document for each in matched.values()))}
    labels.sort(key=lambda label: places[label.document.document])
    return Labels(tuple(labels), tuple(unlabelled))


class FieldReader:
    """Reads the value of one field as the schema reads it from an answer, without the other fields."""

    def __init__(self, model: type[BaseModel]) -> None:
        """Raises ConfigurationError for a field that cannot be a column."""
        self._model, self._fields = model, Fields(model)
        self.columns = self._fields.columns

    def read(self, name: str, value: object) -> object:
        """The cell of the value. Raises KeyError for no field; ValueError or ArithmeticError for no value of it."""
        field = self._model.model_fields[name]
        if value is None:
            raise ValueError("null is a cell as it is")
        if isinstance(value, str) and self.columns[name].is_nested():
            value = json.loads(value)  # as in a CSV file
        empty = self._model.model_construct(**dict.fromkeys(self._model.model_fields))
        try:
            self._model.__pydantic_validator__.validate_assignment(empty, name, value)
        except ValidationError as error:
            if any(each["loc"] for each in error.errors()):
                raise
            # A validator of the whole model misses the other fields: the field's own type has to do.
            annotation = cast("type[object]", Annotated[(field.annotation, *field.metadata, None)])
            return self._fields.field_cell(name, TypeAdapter(annotation).validate_python(value))
        return self._fields.field_cell(name, getattr(empty, name))


class _LabelReader:
    """Reads values of truth as the schema would read them from an answer."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._fields = FieldReader(model)

    def read(self, line: TruthLine) -> tuple[dict[str, object], Draw]:
        """The cells of a line, in the order of the schema. Raises ConfigurationError for a field or a value."""
        given = dict(line.values)
        draw = self._take_draw(given, line.place)
        columns = self._fields.columns
        cells: dict[str, object] = {}
        for name, value in given.items():
            try:
                cells[name] = self._fields.read(name, value)
            except (KeyError, ValueError, ArithmeticError):  # not as the schema reads it, perhaps as the column does
                cells |= TruthLine(line.document, {name: value}, line.place).cells(columns)
        return {name: cells[name] for name in columns if name in cells}, draw

    def _take_draw(self, given: dict[str, object], place: str) -> Draw:
        """Removes how the document was chosen from the values."""
        if DRAW in self._fields.columns or DRAW not in given:
            return "random"
        draw = given.pop(DRAW)
        if draw not in get_args(Draw):
            raise ConfigurationError(f"{place}: {DRAW} {format_value(draw)}: use {' or '.join(get_args(Draw))}")
        return cast("Draw", draw)


def _match_documents(
    lines: Sequence[TruthLine], documents: Iterable[Document]
) -> tuple[dict[str, Document], list[str]]:
    """The document of each name, in the order of the source, and the names of the documents without a label.

    Raises ConfigurationError for a name that fits several documents and none exactly.
    """
    places = {line.document: line.place for line in lines}
    depths = {name.count("/") + 1 for name in places}
    exact: dict[str, Document] = {}
    ending: dict[str, dict[str, Document]] = {}
    names: list[str] = []
    for document in documents:
        names.append(document.document)
        for alias in {document.document, *(page.name for page in document.pages)}:
            if alias in places:
                exact[alias] = document
            parts = alias.split("/")
            for end in ("/".join(parts[-depth:]) for depth in depths):
                if end in places:
                    ending.setdefault(end, {})[document.document] = document
    matched = {name: next(iter(ends.values())) for name, ends in ending.items()} | exact
    for name, ends in ending.items():
        if name not in exact and len(ends) > 1:
            first, second, *_ = ends
            raise ConfigurationError(
                f"{places[name]}: {name!r} names several documents, {first!r} and {second!r} among them: write the"
                " path whole, or as much of its end as is needed"
            )
    labelled = {each.document for each in matched.values()}
    return matched, [name for name in names if name not in labelled]


def _check_matches(path: str, lines: Sequence[TruthLine], matched: Mapping[str, Document]) -> None:
    """Raises ConfigurationError for documents that the source does not have, and for two lines of one document."""
    unknown = [line for line in lines if line.document not in matched]
    if len(unknown) == len(lines):
        raise ConfigurationError(
            f"no label of {path} is of a document of the source: it names {_name_some(unknown)}; check SOURCE and --truth"
        )
    if unknown:
        raise ConfigurationError(
            f"{unknown[0].place}: the source has no document {unknown[0].document!r}; {len(unknown)} of"
            f" {len(lines)} labels are of unknown documents: {_name_some(unknown)}"
        )
    seen: dict[str, TruthLine] = {}
    for line in lines:
        document = matched[line.document].document
        if (first := seen.setdefault(document, line)) is not line:
            raise ConfigurationError(
                f"{line.place}: {line.document!r} is labelled a second time, after {first.place}: keep one of them"
            )


def _check_labels(path: str, lines: Sequence[TruthLine], labels: Sequence[Label]) -> None:
    """Raises ConfigurationError where there is too little to compare."""
    if len(labels) < LEAST_DOCUMENTS:
        raise ConfigurationError(
            f"{path} has the label of one document: at least {LEAST_DOCUMENTS} are needed, and about thirty to choose a"
            " ladder"
        )
    for line, label in zip(lines, labels, strict=True):
        if not label.cells:
            raise ConfigurationError(f"{line.place}: {line.document!r} has no value of any field of the schema")


def _name_some(lines: Sequence[TruthLine]) -> str:
    names = ", ".join(repr(line.document) for line in lines[:NAMED])
    return f"{names} and {len(lines) - NAMED} more" if len(lines) > NAMED else names
