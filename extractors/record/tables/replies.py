"""The answers that earlier runs have stored in the table `replies`, indexed by document and read file by file."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from extractors.core.calls import TokenLogprobs
from extractors.core.errors import ConfigurationError
from extractors.core.evidence import Quality
from extractors.core.tiles import Size
from extractors.record.output.base import reading
from extractors.record.tables import columns
from extractors.record.tables.history import DAYS, OFFLINE, document_key, load_history

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from extractors.core import Fingerprint, Name, RedoScope
    from extractors.record.output.base import Output
    from extractors.record.tables.history import RunHistory

ANSWERS = ("accepted", "off_schema", "refused", "not_json", "truncated", "empty")
_OF_RESULTS = {
    "_document": "document",
    "_version": "version",
    "_model": "answered",
    "_model_requested": "model",
    "_prompt_hash": "prompt_hash",
    "_sha256": "sha256",
    "_encoded": "encoded",
    "_action": "action",
    "_rung": "rung",
    "_sent_width": "width",
    "_sent_height": "height",
    "_extracted_at": "at",
}
_OF_FAILURES = {
    "document": "document",
    "version": "version",
    "model_requested": "model",
    "prompt_hash": "prompt_hash",
    "failed_at": "at",
}
_OF_CALLS = {
    "document": "document",
    "attempt": "attempt",
    "rung": "called_rung",
    "sent_width": "called_width",
    "sent_height": "called_height",
}
_OF_IMAGES = ("document", "page", "sharpness", "contrast")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One stored answer with its call and the size of the image that was sent.

    `sha256`, `encoded` and `action` come from its row in results; None without one. `quality` is that of its first page.
    """

    name: Name
    key: str
    body: str = field(repr=False)
    logprobs: TokenLogprobs | None = field(repr=False)
    model: str
    prompt_hash: str
    rung: int
    sent: Size
    sha256: str | None = None
    encoded: bool | None = None
    action: str | None = None
    quality: Quality | None = None


class StoredReplies:
    """The files of stored answers by document key, as in RunHistory.

    The index takes twelve bytes per answer; answers are read file by file, and one file is cached.
    """

    def __init__(self, output: Output, files: list[str], places: pl.DataFrame, *, offline: bool) -> None:
        """`files` are in the order of their answers; `places` has the columns `key` and `file`, an index into `files`."""
        self._output, self._files, self._offline = output, files, offline
        ordered = places.sort("key", "file")
        self._keys, self._places = array("q", ordered["key"]), array("i", ordered["file"])
        self._open: tuple[int, pl.DataFrame] | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        """The number of documents with answers, counted once per file."""
        return len(self._keys)

    def __contains__(self, document: object) -> bool:
        """Whether the document with this key has an answer."""
        return isinstance(document, int) and bool(self._file_numbers(document))

    def find_answers(self, wanted: Collection[Name]) -> Iterator[StoredAnswer]:
        """The answers for these documents, later ones first. Reads files: call it in a thread.

        Checks `wanted` again before each file, so the caller may remove documents from it.
        """
        by_file: dict[int, list[Name]] = {}
        for name in wanted:
            for place in self._file_numbers(document_key(*name)):
                by_file.setdefault(place, []).append(name)
        for place in sorted(by_file, reverse=True):
            names = {name for name in by_file[place] if name in wanted}
            if names:
                frame = self._read_file(place).filter(pl.col("document").is_in([document for document, _ in names]))
                yield from (_build_answer(row) for row in frame.iter_rows(named=True) if _document_name(row) in names)

    def _file_numbers(self, document: int) -> list[int]:
        """The numbers of the files with answers for this document."""
        at, numbers = bisect_left(self._keys, document), []
        while at < len(self._keys) and self._keys[at] == document:
            numbers.append(self._places[at])
            at += 1
        return numbers

    def _read_file(self, place: int) -> pl.DataFrame:
        """The answers of one file: the published one of each document first, then later attempts first."""
        with self._lock:
            if self._open is None or self._open[0] != place:
                self._open = None  # only one file is kept in memory
                file = self._files[place]
                whole = (
                    _scan_answers(self._output, file, offline=self._offline)
                    .join(_scan_calls(self._output, file), on=["document", "attempt"], how="left")
                    .join(_scan_quality(self._output, file), on="document", how="left")
                )
                self._open = place, _sort_answers(whole).collect()
            return self._open[1]


def _sort_answers(answers: pl.LazyFrame) -> pl.LazyFrame:
    """The answers with whether each is the `published` one of its document, which comes first; then later attempts first."""
    published = (pl.col("outcome") == "accepted") & pl.col("called_rung").eq_missing(pl.col("rung"))
    marked = answers.with_columns(published=published | pl.col("called_rung").is_null())
    return marked.sort("published", "attempt", descending=True)


def load_history_with_replies(
    output: Output, fingerprint: Fingerprint, scope: RedoScope, *, offline: bool
) -> tuple[RunHistory, StoredReplies | None]:
    """Load the history; under `reparse` limited to the documents with stored answers, which are returned too."""
    past = load_history(output, fingerprint, scope, offline=offline)
    if scope.redo != "reparse":
        return past, None
    stored = load_replies(output, fingerprint, offline=offline)
    return past.limit_to(stored), stored


def load_replies(output: Output, fingerprint: Fingerprint, *, offline: bool) -> StoredReplies:
    """Index the stored answers of this schema; those of local OCR only for offline runs.

    Raises ConfigurationError if there are none, or if they cannot be read.
    """
    found: list[tuple[datetime, str, pl.Series]] = []
    with reading(output):
        for file in output.list_files(f"replies/schema={fingerprint.schema}", DAYS):
            ends = (
                _scan_answers(output, file, offline=offline)
                .group_by("document", "version")
                .agg(pl.col("at").max())
                .collect()
            )
            keys = [
                document_key(document, version) for document, version in ends.select("document", "version").iter_rows()
            ]
            if isinstance(at := ends["at"].max(), datetime):
                found.append((at, file, pl.Series("key", keys, dtype=columns.INT)))
    found.sort(key=itemgetter(0))  # by the time of the answers: two runs may start in the same second, or publish late
    parts = [keys.to_frame().with_columns(file=pl.lit(place, pl.Int32)) for place, (_, _, keys) in enumerate(found)]
    places = pl.concat([pl.DataFrame(schema={"key": columns.INT, "file": pl.Int32()}), *parts])
    stored_replies = StoredReplies(output, [file for _, file, _ in found], places, offline=offline)
    if not len(stored_replies):
        raise ConfigurationError(
            f"--redo reparse: {output} has no stored answers of schema {fingerprint.schema!r}: runs store them with"
            " TILEWISE_KEEP_REPLIES=all, not with none" + ("" if offline else "; answers of local OCR need --offline")
        )
    return stored_replies


def _scan_answers(output: Output, file: str, *, offline: bool) -> pl.LazyFrame:
    """The answers of one file, joined with the outcomes of their documents in the same volume; without those to an audit."""
    replies = output.scan([file], columns.REPLIES).filter(pl.col("outcome").is_in(ANSWERS))
    replies = replies.join(_scan_audit(output, file), on=["document", "attempt"], how="anti")
    ends = []
    if output.exists(results := _sibling_file(file, "results")):
        rows = output.scan([results], {column: columns.RESULTS[column] for column in _OF_RESULTS}).rename(_OF_RESULTS)
        kept = rows if offline else rows.filter(~pl.col("answered").str.starts_with(OFFLINE))
        ends.append(kept.drop("answered"))
    if output.exists(failures := _sibling_file(file, "failures")):
        failed = output.scan([failures], {column: columns.FAILURES[column] for column in _OF_FAILURES})
        rows = failed.rename(_OF_FAILURES)
        ends.append(rows if offline else rows.filter(~pl.col("model").str.starts_with(OFFLINE)))
    missing = {new: columns.RESULTS[old] for old, new in _OF_RESULTS.items() if new != "answered"}
    whole = pl.concat([pl.LazyFrame(schema=missing), *ends], how="diagonal")
    return replies.join(whole, on="document")


def _scan_audit(output: Output, file: str) -> pl.LazyFrame:
    return _scan_sibling(output, file, "calls", _OF_CALLS).filter(columns.AUDIT_CALL).select("document", "attempt")


def _scan_calls(output: Output, file: str) -> pl.LazyFrame:
    return _scan_sibling(output, file, "calls", _OF_CALLS).rename(_OF_CALLS)


def _scan_sibling(output: Output, file: str, table: Literal["calls", "images"], names: Iterable[str]) -> pl.LazyFrame:
    """These columns of another table in the same volume; no rows where it is missing."""
    all_columns = columns.CALLS if table == "calls" else columns.IMAGES
    wanted, other = {name: all_columns[name] for name in names}, _sibling_file(file, table)
    return output.scan([other], wanted) if output.exists(other) else pl.LazyFrame(schema=wanted)


def _scan_quality(output: Output, file: str) -> pl.LazyFrame:
    """Sharpness and contrast of each document's first page."""
    rows = _scan_sibling(output, file, "images", _OF_IMAGES)
    return rows.filter(pl.col("page") == 1).drop("page").unique("document")


def _sibling_file(file: str, table: str) -> str:
    """The file of another table in the same volume as this file of `replies`."""
    _, schema, day, name = file.split("/")
    return f"results/{schema}/{day}/{name}" if table == "results" else f"{table}/{day}/{name}"


def _document_name(row: dict[str, Any]) -> Name:
    return row["document"], row["version"]


def _build_logprobs(tokens: list[str] | None, logprobs: list[float | None] | None) -> TokenLogprobs | None:
    return None if tokens is None or logprobs is None else TokenLogprobs(tuple(tokens), tuple(logprobs))


def _build_answer(row: dict[str, Any]) -> StoredAnswer:
    """Any: as the tables have it."""
    accepted = row["outcome"] == "accepted" and row["sha256"] is not None and row["published"]
    kind = "" if accepted else "called_"  # an earlier attempt may have sent another image
    size = Size(row[f"{kind}width"] or 0, row[f"{kind}height"] or 0)
    return StoredAnswer(
        _document_name(row),
        row["key"],
        row["reply"],
        _build_logprobs(row["tokens"], row["token_logprobs"]),
        row["model"],
        row["prompt_hash"],
        row[f"{kind}rung"] or 0,
        size,
        sha256=row["sha256"] if accepted else None,
        encoded=row["encoded"] if accepted else None,
        action=row["action"] if accepted else None,
        quality=None if row["sharpness"] is None else Quality(row["sharpness"], row["contrast"]),
    )
