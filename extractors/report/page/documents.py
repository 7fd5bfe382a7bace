"""The documents of the report's gallery: fields, facts, attempts with their raw replies, and where the picture is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import polars as pl

from extractors.core.money import dollars
from extractors.record.tables import columns
from extractors.report.page.evidence import read_evidence
from extractors.report.page.pictures import PictureSource
from extractors.report.page.values import NO_EVIDENCE, FieldValue, make_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extractors.record.tables.rows import Row
    from extractors.report.page.runs import RunTables
    from extractors.report.page.selection import DocumentSelection

MOST_REPLY = 20_000  # characters of a raw reply on the page
_LEAST_REPLY = 300
_TEXT_TOTAL = 3_000_000  # characters of all values and replies; beyond it, replies are cut
_LARGE_BODY = 100_000  # characters; a longer body is not parsed
_PAGE = re.compile(r"#page=(\d+)$")
_IMAGES: columns.Columns = {
    name: columns.IMAGES[name]
    for name in (
        *("document", "page", "image", "size", "version", "format", "width", "height", "orientation"),
        *("action", "reason", "note"),
    )
}
_ATTEMPTS: columns.Columns = {
    name: columns.CALLS[name]
    for name in (
        *("document", "attempt", "rung", "sent_width", "sent_height", "seconds", "http_status", "outcome"),
        *("prompt_tokens", "completion_tokens", "cost_usd", "finish_reason", "error"),
    )
}
_REPLIES: columns.Columns = {name: columns.REPLIES[name] for name in ("document", "attempt", "reply")}
_FAILURES: columns.Columns = {
    name: columns.FAILURES[name]
    for name in ("document", "image", "stage", "kind", "message", "final", "attempts", "cost_usd")
}


class AttemptView(NamedTuple):
    """One call for a document; `reply` is its answer, cut if it is long, None where no answer is kept."""

    call: Row
    reply: str | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One document of the gallery. `result` is its row of results or None, `failure` its row of failures or None."""

    document: str
    flags: tuple[str, ...]
    confidence: float | None
    result: Row | None
    failure: Row | None
    pages: Sequence[Row]
    values: Sequence[FieldValue] = ()
    attempts: Sequence[AttemptView] = ()

    @property
    def name(self) -> str:
        """The last part of its name, to read."""
        return self.document.rstrip("/").rpartition("/")[2] or self.document

    @property
    def folder(self) -> str:
        """The part before it."""
        return self.document.removesuffix(self.name).rstrip("/")

    @property
    def link(self) -> str:
        """An address of the file that a browser can open; empty for objects of a bucket."""
        return link_to(str(self.pages[0]["image"]) if self.pages else self.document)

    @property
    def facts(self) -> list[str]:
        """Tokens, cost, rung, attempts and confidence, those that are known."""
        prefix, row = ("_", self.result) if self.result is not None else ("", self.failure or {})
        tokens = [_sum(self.attempts, name) for name in ("prompt_tokens", "completion_tokens")]
        cost, attempts, rung = row.get(f"{prefix}cost_usd"), row.get(f"{prefix}attempts"), row.get("_rung")
        return [
            *([f"{tokens[0]:,} + {tokens[1]:,} tokens"] if any(tokens) else []),
            f"cost {dollars(cost if isinstance(cost, Decimal) else None)}",
            *([f"rung {rung:,}"] if isinstance(rung, int) else []),
            *([f"{attempts:,} {'attempt' if attempts == 1 else 'attempts'}"] if isinstance(attempts, int) else []),
            *([] if self.confidence is None else [f"confidence {self.confidence:.2f}"]),
        ]

    @property
    def about(self) -> list[tuple[str, str]]:
        """What else is known of it: the source of a copy, its pages, what was sent, and its manifest's columns."""
        row, first = self.result or {}, self.pages[0] if self.pages else {}
        sides = [first.get("width"), first.get("height"), row.get("_sent_width"), row.get("_sent_height")]
        full, sent = (f"{sides[place]} x {sides[place + 1]} px" if sides[place] else "" for place in (0, 2))
        about = {
            "copied from": row.get("_copied_from"),
            "pages": "\n".join(str(page["image"]) for page in self.pages) if len(self.pages) > 1 else "",
            "size": full,
            "sent": sent,
            "planned": f"{first['action']} ({first['reason']})" if first else "",
            "note": first.get("note"),
            "model": row.get("_model"),
            "manifest": row.get("_manifest"),
        }
        return [(name, str(text)) for name, text in about.items() if text]

    @property
    def size(self) -> str:
        """Width and height of its first page, in which the boxes are given; empty where they are unknown."""
        first = self.pages[0] if self.pages else {}
        return f"{first['width']} {first['height']}" if first.get("width") and first.get("height") else ""

    @property
    def picture(self) -> PictureSource | None:
        """Its first page; None where no page was planned."""
        if not self.pages:
            return None
        row = self.pages[0]
        uri, page = _split_page(str(row["image"]), row["format"])
        return PictureSource(
            uri,
            page,
            *(row[name] for name in ("version", "size", "format", "width", "height", "orientation")),  # type: ignore[arg-type]  # columns of known types
        )


@dataclass(slots=True)
class TextAllowance:
    """How much of each reply is shown: whole until the total is used up, and a few hundred characters after that.

    Long values of fields use it up, too.
    """

    left: int = _TEXT_TOTAL

    def spend(self, values: Sequence[FieldValue]) -> Sequence[FieldValue]:
        """Counts these values; returns them."""
        self.left -= sum(len(value.text) + len(value.json) for value in values)
        return values

    def cut(self, reply: str) -> tuple[str, bool]:
        """The reply, or its beginning, and whether it was cut."""
        length = min(len(reply), MOST_REPLY if self.left >= min(len(reply), MOST_REPLY) else _LEAST_REPLY)
        self.left -= length
        return reply[:length], length < len(reply)


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """The rows of the selected documents, by document."""

    results: Mapping[str, Row]
    types: Mapping[str, pl.DataType]
    failures: Mapping[str, Row]
    pages: Mapping[str, list[Row]]
    calls: Mapping[str, list[Row]]
    replies: Mapping[tuple[str, object], str]
    allowance: TextAllowance = field(default_factory=TextAllowance)


def load_cards(tables: RunTables, selection: DocumentSelection) -> Iterator[Card]:
    """The selected documents in their order."""
    rows = _load_rows(tables, selection)
    for chosen in selection.documents.iter_rows(named=True):
        yield _make_card(chosen, rows, selection.doubtful_below)


def link_to(name: str) -> str:
    """An address that a browser can open, of a file or a URL; empty for others."""
    if name.startswith(("http://", "https://")):
        return name
    path, page = _split_page(name, None)
    if not Path(path).is_absolute():
        return ""
    return f"file://{quote(path)}" + (f"#page={page}" if page else "")


def _load_rows(tables: RunTables, selection: DocumentSelection) -> DocumentRows:
    names = selection.documents["document"].implode()

    def chosen(frame: pl.LazyFrame, column: str = "document") -> pl.LazyFrame:
        return frame.filter(pl.col(column).is_in(names)) if selection.is_partial else frame

    results = tables.results()
    short = pl.col("reply").str.slice(0, _LARGE_BODY)
    frames = pl.collect_all(
        [
            pl.LazyFrame() if results is None else chosen(results, "_document"),
            chosen(tables.rows("failures", _FAILURES)),
            chosen(tables.rows("images", _IMAGES)).sort("document", "page"),
            chosen(tables.rows("calls", _ATTEMPTS)).sort("document", "attempt"),
            chosen(tables.rows("replies", _REPLIES)).with_columns(short),
        ]
    )
    found, failures, images, calls, replies = frames
    return DocumentRows(
        results={str(row["_document"]): row for row in found.iter_rows(named=True)},
        types=dict(found.schema),
        failures={str(row["document"]): row for row in failures.iter_rows(named=True)},
        pages=_group(images.iter_rows(named=True)),
        calls=_group(calls.iter_rows(named=True)),
        replies={(document, attempt): reply for document, attempt, reply in replies.iter_rows()},
    )


def _group(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row["document"]), []).append(row)
    return groups


def _list_flags(chosen: Mapping[str, object], doubtful_below: float) -> tuple[str, ...]:
    confidence = chosen["confidence"]
    low = isinstance(confidence, float) and confidence < doubtful_below
    flags = {"failed": chosen["failed"], "climbed": chosen["climbed"], "copied": chosen["copied_from"], "doubtful": low}
    flags |= {"unseen": chosen["unseen"], "missing": chosen["missing"]}
    return tuple(flag for flag, is_set in flags.items() if is_set)


def _make_card(chosen: Mapping[str, object], rows: DocumentRows, doubtful_below: float) -> Card:
    name = str(chosen["document"])
    result, confidence = rows.results.get(name), chosen["confidence"]
    return Card(
        document=name,
        flags=_list_flags(chosen, doubtful_below),
        confidence=confidence if isinstance(confidence, float) else None,
        result=result,
        failure=rows.failures.get(name) if result is None else None,
        pages=rows.pages.get(name, ()),
        values=rows.allowance.spend(_make_values(result or {}, rows.types)),
        attempts=[_make_attempt(call, rows) for call in rows.calls.get(name, ())],
    )


def _make_values(result: Row, types: Mapping[str, pl.DataType]) -> list[FieldValue]:
    """The values of a row; those that the witness saw nowhere come first."""
    known = read_evidence(result.get("_evidence"))
    values = []
    for name, value in result.items():
        if not name.startswith("_"):
            seen = known.get(name, NO_EVIDENCE)
            values.append(make_value(name, value, types[name])._replace(confidence=seen.confidence, seen=seen))
    return sorted(values, key=lambda each: not each.seen.unseen)


def _make_attempt(call: Row, rows: DocumentRows) -> AttemptView:
    body = rows.replies.get((str(call["document"]), call["attempt"]))
    if body is None:
        return AttemptView(call, None)
    return AttemptView(call, *rows.allowance.cut(read_answer(body)))


def _sum(attempts: Sequence[AttemptView], name: str) -> int:
    return sum(count for attempt in attempts if isinstance(count := attempt.call[name], int))


def read_answer(body: str) -> str:
    """The answer in the kept body of a response; the body itself where none can be read."""
    from extractors.call.response import parse_stored  # noqa: PLC0415 - httpx and aiohttp, for those who have answers

    content = parse_stored(body).content if len(body) < _LARGE_BODY else None
    return content or body


def _split_page(name: str, kind: object) -> tuple[str, int | None]:
    """The file and the page of an image's name; of a name that only looks like one with a page, the whole."""
    numbered = _PAGE.search(name)
    if numbered and kind in {None, "PDF", "TIFF"}:
        return name[: numbered.start()], int(numbered[1])
    return name, None
