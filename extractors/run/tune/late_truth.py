"""Late truth: a table of the user's own, joined to the published rows by a field of the schema (`--on`).

A row of the table is the label of a document where its key stands once in the table and once among the published rows.
The key itself is not scored: it is right wherever a row is joined. Columns that are no field of the schema are ignored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.errors import ConfigurationError, suggest_name
from extractors.core.plain_values import canonical_text, is_null
from extractors.record.tables.truth import TruthLine, read_truth
from extractors.report.rows import RowFilter, open_rows
from extractors.report.tuning.join import JoinView
from extractors.run.tune.labels import DRAW, FieldReader, Labels, label_documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.core import Document
    from extractors.core.schema import Schema
    from extractors.record.output.base import Output
    from extractors.run.tune.request import TruthFile


@dataclass(frozen=True, slots=True)
class JoinedLabels:
    """The labels of a source's documents, and what became of the rows of a table that was joined."""

    labels: Labels
    view: JoinView | None = None


def join_labels(truth: TruthFile, schema: Schema, output: Output, documents: Sequence[Document]) -> JoinedLabels:
    """Joins the table to the rows of the output, and labels the documents of the source among them.

    Raises ConfigurationError for a field that is no key, for a table without a field to score, and where fewer than two
    documents are joined.
    """
    reader = FieldReader(schema.model)
    _check_key(truth.on, schema, reader)
    table = _read_table(truth, reader)
    join = _join(table.by_key, _group_rows(output, schema.name, truth.on))
    names = {document.document for document in documents}
    inside = [_label(line, document, table.used) for document, line in join.joined if document in names]
    labelled = [line for line in inside if line.values.keys() - {DRAW}]
    view = JoinView(
        on=truth.on,
        rows=table.rows,
        joined=len(labelled),
        without_key=table.rows - sum(map(len, table.by_key.values())),
        repeated_in_truth=join.unused["table"],
        repeated_in_rows=join.unused["rows"],
        unmatched=join.unused["unmatched"],
        outside_source=len(join.joined) - len(inside),
        without_value=len(inside) - len(labelled),
        ignored=table.ignored,
    )
    if not labelled:
        raise ConfigurationError(f"no row of {truth.path} is the label of a document of the source: {view.words}")
    return JoinedLabels(label_documents(truth.path, labelled, schema.model, documents), view)


class _Table(NamedTuple):
    """The rows of a table by key, how many there are, and its columns: used for labels, and ignored."""

    by_key: Mapping[str, list[TruthLine]]
    rows: int
    used: frozenset[str]
    ignored: tuple[str, ...]


def _read_table(truth: TruthFile, reader: FieldReader) -> _Table:
    """Reads the table. Raises ConfigurationError where it lacks the key, or any other field of the schema."""
    path, on = truth
    lines = read_truth(path, named=False)
    columns = list(dict.fromkeys(name for line in lines for name in line.values))
    used = frozenset(name for name in columns if name in {*reader.columns, DRAW} and name != on)
    if on not in columns or not used - {DRAW}:
        needed = f"a column {on!r}" if on not in columns else f"a field to score beside {on!r}"
        raise ConfigurationError(f"{path} has no value in {needed}: its columns are {', '.join(columns) or 'none'}")
    ignored = tuple(name for name in columns if name not in used and name != on)
    return _Table(_group_lines(lines, on, reader), len(lines), used, ignored)


def _check_key(on: str, schema: Schema, reader: FieldReader) -> None:
    """Raises ConfigurationError for a name that is no field of one value."""
    if on not in schema.model.model_fields:
        hint = suggest_name(on, schema.model.model_fields)
        raise ConfigurationError(f"--on names {on!r}, which is no field of {schema.name}{hint}")
    if reader.columns[on].is_nested():
        raise ConfigurationError(f"--on names {on!r}, which is a list or an object: use a field of one value")


def _label(line: TruthLine, document: str, used: frozenset[str]) -> TruthLine:
    return TruthLine(document, {name: value for name, value in line.values.items() if name in used}, line.place)


def _group_lines(lines: Sequence[TruthLine], on: str, reader: FieldReader) -> dict[str, list[TruthLine]]:
    """The rows of the table by key; those without a key are left out."""
    grouped: defaultdict[str, list[TruthLine]] = defaultdict(list)
    for line in lines:
        key = _read_key(line.values.get(on), on, line, reader)
        if not is_null(key):
            grouped[canonical_text(key)].append(line)
    return grouped


def _read_key(value: object, on: str, line: TruthLine, reader: FieldReader) -> object:
    """The key as the schema reads it, else as its column holds it; None where it is neither."""
    if value is None:
        return None
    try:
        return reader.read(on, value)
    except (ValueError, ArithmeticError):
        pass
    try:
        return TruthLine("", {on: value}, line.place).cells(reader.columns)[on]
    except ConfigurationError:
        return None


def _group_rows(output: Output, schema: str, on: str) -> dict[str, list[str]]:
    """The documents of the current published rows by key."""
    rows = open_rows(output, schema, RowFilter())
    rows.check_columns([on])
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for frame in rows.frames(["_document", on]):
        for document, key in frame.iter_rows():
            if not is_null(key):
                grouped[canonical_text(key)].append(document)
    return grouped


class _Join(NamedTuple):
    """The documents with their rows of the table, and how many rows of the table were left out for which reason."""

    joined: list[tuple[str, TruthLine]]
    unused: Counter[str]


def _join(by_key: Mapping[str, list[TruthLine]], documents: Mapping[str, list[str]]) -> _Join:
    join = _Join([], Counter())
    for key, lines in by_key.items():
        published = documents.get(key, [])
        if len(lines) > 1:
            join.unused["table"] += len(lines)
        elif len(published) == 1:
            join.joined.append((published[0], lines[0]))
        else:
            join.unused["rows" if published else "unmatched"] += 1
    return join
