"""The answers to calls of earlier runs, wherever they are kept: in the ledger until their run is published, then in `replies`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from extractors.record.output.base import reading
from extractors.record.tables import columns
from extractors.record.tables.history import DAYS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from extractors.record.ledger.calls import AnsweredCall
    from extractors.record.output.base import Output


class AnswerName(NamedTuple):
    """The key of a row of `replies`."""

    run: str
    document: str
    attempt: int


@dataclass(frozen=True, slots=True)
class PublishedAnswer:
    """The body of an answer, and its tokens where they were asked for."""

    body: str = field(repr=False)
    tokens: Sequence[str] | None = field(default=None, repr=False)
    logprobs: Sequence[float | None] | None = field(default=None, repr=False)


def read_published_answers(
    output: Output, schema: str, calls: Iterable[AnsweredCall]
) -> dict[AnswerName, PublishedAnswer]:
    """The answers to these calls that are published under the output; others are left out. Blocks: call it in a thread."""
    wanted: dict[str, set[AnswerName]] = defaultdict(set)
    for call in calls:
        wanted[call.run].add(AnswerName(call.run, call.document, call.attempt))
    answers: dict[AnswerName, PublishedAnswer] = {}
    with reading(output):
        for file in output.list_files(f"replies/schema={schema}", DAYS):
            stem = file.rpartition("/")[2].removesuffix(".parquet")
            names = [wanted[run] for run in wanted if stem == run or stem.startswith(f"{run}-")]
            if names:
                answers |= _read_file(output, file, names[0])
    return answers


def _read_file(output: Output, file: str, wanted: Collection[AnswerName]) -> Mapping[AnswerName, PublishedAnswer]:
    documents = [name.document for name in wanted]
    rows = output.scan([file], columns.REPLIES).filter(pl.col("document").is_in(documents)).collect()
    answers: dict[AnswerName, PublishedAnswer] = {}
    for row in rows.iter_rows(named=True):
        name = AnswerName(row["run"], row["document"], row["attempt"])
        if name in wanted and row["reply"] is not None:
            answers[name] = PublishedAnswer(row["reply"], row["tokens"], row["token_logprobs"])
    return answers
