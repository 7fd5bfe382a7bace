"""A manifest read and checked as a whole: its documents in order, of which each is found when its turn comes."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from extractors.core import Document
from extractors.core.errors import ConfigurationError, shown
from extractors.scan.manifest.entry import (
    PLAIN,
    PRESIGNED,
    REMOTE,
    REMOTE_VIDEO,
    UNTIDY,
    UNTIDY_BELOW,
    URL,
    Base,
    found,
    named,
)
from extractors.scan.manifest.rows import ROW, SAID, Rows, Unreadable, as_json, quoted, read_rows
from extractors.scan.redact import words

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE = 10_000  # rows that are Python's objects at once
BATCH = 50_000  # rows that are named at once, so that what is between is small
WHOLE = r"^\+?0*[1-9][0-9]{0,8}(\.0*)?$"  # a page, also as a column of floats has it
_HIDES_URL = r"(?i)://|%3a%2f%2f"
_DOCUMENT = ("first", "document", "uri", "address")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Checked rows in the order of documents and their pages.

    `table` has the columns `uri` and `address`; `document` and `first`, the place of the first row that names it; and
    `place`, that of the row's line in `other`, which holds what else the rows say.
    """

    table: pl.DataFrame = field(repr=False)
    other: pl.DataFrame = field(repr=False)

    @property
    def urls(self) -> bool:
        """Whether an image lies elsewhere, so that reading is waiting."""
        return bool(self.table["uri"].str.contains(REMOTE).any())

    @property
    def videos(self) -> bool:
        """Whether it names a video at a URL."""
        return bool(self.table["uri"].str.contains(REMOTE_VIDEO).any())

    def documents(self) -> Iterator[Document]:
        """The documents. A file is looked at when its turn comes, what lies elsewhere is not looked at."""
        for _, rows in groupby(self._rows(), itemgetter(0)):
            pages = list(rows)
            _, document, _, _, said = pages[0]
            yield Document(document, tuple(found(uri, address) for _, _, uri, address, _ in pages), said)

    def _rows(self) -> Iterator[tuple[int, str, str, str | None, str | None]]:
        for part in self.table.iter_slices(SLICE):
            yield from zip(*(part[name] for name in _DOCUMENT), self._said(part["place"]), strict=True)

    def _said(self, places: pl.Series) -> list[str | None]:
        if not self.other.width:
            return [None] * len(places)
        rows = self.other[places]
        return rows[SAID].to_list() if SAID in rows.columns else [as_json(row) for row in rows.iter_rows(named=True)]


def read(source: str) -> Manifest:
    """The manifest at a path or in a bucket. Raises ConfigurationError that says what is wrong with it, and where."""
    try:
        return _checked(read_rows(os.path.splitext(source)[1].lower(), _data(source)), _base(source))  # noqa: PTH122
    except Unreadable as error:
        raise ConfigurationError(f"manifest {shown(source)} {error}") from None


def _data(source: str) -> bytes:
    if "://" in source:
        from extractors.scan.bucket import read_object  # noqa: PLC0415 - 40 ms that a file need not wait for

        return read_object(source)
    try:
        return Path(source).expanduser().read_bytes()
    except FileNotFoundError:
        raise Unreadable("does not exist: name a file that is there") from None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None


def _base(source: str) -> Base:
    if "://" in source:
        scheme, _, place = source.partition("://")
        return Base(f"{scheme.lower()}://{place.rpartition('/')[0]}")
    return Base(str(Path(source).expanduser().absolute().parent))


def _checked(rows: Rows, base: Base) -> Manifest:
    """The documents that these rows make. Raises Unreadable."""
    text = _stripped(rows.table["uri"])
    if text.null_count():
        raise Unreadable(f"names no uri in {rows.unit} {rows.table[ROW][text.is_null().arg_max() or 0]}")
    parts = (text.slice(start, BATCH) for start in range(0, len(text), BATCH))
    names = pl.concat([_names(part, base) for part in parts])
    given, page = _documents(rows.table["document"]), _pages(rows)
    table = names.with_columns(rows.table[ROW], given.alias("given"), page.alias("page")).with_row_index("place")
    if given.null_count() == len(given):
        table = table.with_columns(first="place", document="uri")
        _refuse_twice(table, ["document"], rows.unit)
    else:
        table = table.with_columns(document=pl.coalesce("given", "uri"))
        table = table.with_columns(first=pl.col("place").min().over("document"))
        _check_documents(table, rows.unit)
        table = table.sort("first", "page", "place")
    return Manifest(table.select(*_DOCUMENT, "place"), rows.other)


def _stripped(text: pl.Series) -> pl.Series:
    """Without blanks around it, null where nothing is left. Most texts are so already, and need no copy."""
    if text.null_count() < len(text) and text.str.contains(r"^\s|\s$|^$").any():
        return text.str.strip_chars().replace("", None)
    return text


def _names(text: pl.Series, base: Base) -> pl.DataFrame:
    """The columns `uri` and `address`: most texts name themselves, or a path below the manifest's folder."""
    it, folder = pl.col("text"), base.folder.rstrip("/") + "/"
    path = ~it.str.contains(URL) & ~it.str.contains(UNTIDY)
    frame = text.to_frame("text").select(
        uri=pl.when(it.str.contains(PLAIN) | (it.str.starts_with("/") & ~it.str.contains(UNTIDY_BELOW)))
        .then(it)
        .when(path)
        .then(pl.concat_str(pl.lit(folder), it))
        .otherwise(it.str.extract(PRESIGNED)),
        address=pl.when(it.str.contains(PRESIGNED)).then(it),
    )
    rest = frame["uri"].is_null().arg_true()
    if not len(rest):
        return frame
    others = pl.DataFrame(named(text.gather(rest), base), {"uri": pl.String, "address": pl.String}, orient="row")
    known = frame.with_row_index("at").filter(pl.col("uri").is_not_null())
    return pl.concat([known, others.insert_column(0, rest.alias("at"))]).sort("at").drop("at")


def _documents(given: pl.Series) -> pl.Series:
    """What rows call their documents; null where they do not."""
    names = _stripped(given)
    if not names.str.contains(_HIDES_URL).any():
        return names
    return pl.Series([name if name is None else words(name) for name in names], dtype=pl.String)


def _pages(rows: Rows) -> pl.Series:
    """The numbers of the pages; null where there are none. Raises Unreadable for what is no number from 1 on."""
    text = _stripped(rows.table["page"])
    if text.null_count() == len(text):
        return text.cast(pl.Int64)
    bad = (~text.str.contains(WHOLE)).fill_null(value=False)
    if bad.any():
        place = bad.arg_max() or 0
        where = f"{rows.unit} {rows.table[ROW][place]}"
        raise Unreadable(f"has page {quoted(text[place])} in {where}: use whole numbers from 1 on")
    return text.str.strip_chars_start("+").str.replace(r"\..*", "").cast(pl.Int64)


def _check_documents(table: pl.DataFrame, unit: str) -> None:
    """Raises Unreadable for documents whose pages cannot be put in order. `first` stands for the document's name."""
    unnamed = table.filter(pl.col("given").is_null())["first"]
    _refuse_twice(
        table.filter(pl.col("first").is_in(unnamed.implode())) if len(unnamed) else table[:0], ["first"], unit
    )
    _refuse_twice(table, ["first", "uri"], unit)
    paged = table.filter(pl.col("page").is_not_null())
    if not paged.height:
        return
    _refuse_twice(paged, ["first", "page"], unit)
    unpaged = table.filter(pl.col("page").is_null() & pl.col("first").is_in(paged["first"].implode()))
    if unpaged.height:
        row = unpaged.row(0, named=True)
        raise Unreadable(f"gives {quoted(row['document'])} pages, but none in {unit} {row[ROW]}: number all or none")


def _refuse_twice(table: pl.DataFrame, columns: list[str], unit: str) -> None:
    """Raises Unreadable when two rows are alike in these columns."""
    hashes = _hashed(table, columns)
    ordered = hashes.sort()
    often = ordered.filter(ordered == ordered.shift())  # comparing the texts themselves needs them all twice
    if not len(often):
        return
    alike = table.filter(hashes.is_in(often.implode()))
    again = alike.select(~pl.struct(columns).is_first_distinct()).to_series()
    if not again.any():
        return
    second = alike.row(again.arg_max() or 0, named=True)
    first = alike.filter(pl.all_horizontal(pl.col(name) == second[name] for name in columns)).row(0, named=True)
    what = {"uri": "the image", "page": f"page {second['page']} of"}.get(columns[-1], "the document")
    name = second["uri" if columns[-1] == "uri" else "document"]
    raise Unreadable(f"names {what} {quoted(name)} twice, in {unit}s {first[ROW]} and {second[ROW]}")


def _hashed(table: pl.DataFrame, columns: list[str]) -> pl.Series:
    """A number for each row, equal where these columns are, and hardly anywhere else."""
    return table.select(
        pl.sum_horizontal(pl.col(name).hash(seed) // 2 for seed, name in enumerate(columns))
    ).to_series()
