"""Read and check a whole manifest; its documents follow as a stream, each file looked at in turn."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from extractors.core import Document
from extractors.core.errors import ConfigurationError, format_value
from extractors.core.redact import redact_text
from extractors.scan.manifest.entry import (
    PLAIN,
    PRESIGNED,
    REMOTE,
    REMOTE_VIDEO,
    UNTIDY,
    UNTIDY_BELOW,
    URL,
    Base,
    find_pages,
    name_entries,
)
from extractors.scan.manifest.pages import PAGED, parse_pages
from extractors.scan.manifest.rows import OTHER_JSON, ROW, ManifestError, Rows, encode_other, quote_value, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE = 10_000  # rows held as Python objects at once
BATCH = 50_000  # rows resolved at once, which bounds temporary memory
WHOLE = r"^\+?0*[1-9][0-9]{0,8}(\.0*)?$"  # a page number, also as a float
_HIDES_URL = r"(?i)://|%3a%2f%2f"
_DOCUMENT = ("first", "document", "uri", "address", "pages")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Checked rows in the order of documents and pages.

    `table` has the columns `uri`, `address`, `document`, `first` (the index of the document's first row) and `place` (the
    row's index in `other`, which holds the other columns).
    """

    table: pl.DataFrame = field(repr=False)
    other: pl.DataFrame = field(repr=False)

    @property
    def urls(self) -> bool:
        """Whether an image is remote."""
        return bool(self.table["uri"].str.contains(REMOTE).any())

    @property
    def videos(self) -> bool:
        """Whether a URL names a video."""
        return bool(self.table["uri"].str.contains(REMOTE_VIDEO).any())

    def documents(self) -> Iterator[Document]:
        """Yield the documents; files are looked at in turn, remote images are not."""
        for _, rows in groupby(self._rows(), itemgetter(0)):
            pages = list(rows)
            _, document, _, _, _, other = pages[0]
            images = (find_pages(uri, address, chosen) for _, _, uri, address, chosen, _ in pages)
            yield Document(document, tuple(chain.from_iterable(images)), other)

    def _rows(self) -> Iterator[tuple[int, str, str, str | None, str | None, str | None]]:
        for part in self.table.iter_slices(SLICE):
            yield from zip(*(part[name] for name in _DOCUMENT), self._other_columns(part["place"]), strict=True)

    def _other_columns(self, places: pl.Series) -> list[str | None]:
        if not self.other.width:
            return [None] * len(places)
        rows = self.other[places]
        return (
            rows[OTHER_JSON].to_list()
            if OTHER_JSON in rows.columns
            else [encode_other(row) for row in rows.iter_rows(named=True)]
        )


def read(source: str) -> Manifest:
    """Read the manifest at a path or in a bucket. Raises ConfigurationError that says what is wrong, and in which row."""
    try:
        return _check_rows(read_rows(os.path.splitext(source)[1].lower(), _read_bytes(source)), _base_of(source))  # noqa: PTH122
    except ManifestError as error:
        raise ConfigurationError(f"manifest {format_value(source)} {error}") from None


def _read_bytes(source: str) -> bytes:
    if "://" in source:
        from extractors.scan.bucket import read_object  # noqa: PLC0415 - 40 ms that a file need not wait for

        return read_object(source)
    try:
        return Path(source).expanduser().read_bytes()
    except FileNotFoundError:
        raise ManifestError("does not exist: name a file that is there") from None
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}") from None


def _base_of(source: str) -> Base:
    if "://" in source:
        scheme, _, place = source.partition("://")
        return Base(f"{scheme.lower()}://{place.rpartition('/')[0]}")
    return Base(str(Path(source).expanduser().absolute().parent))


def _check_rows(rows: Rows, base: Base) -> Manifest:
    """Make the documents of these rows. Raises ManifestError."""
    text = _strip(rows.table["uri"])
    if text.null_count():
        raise ManifestError(f"names no uri in {rows.unit} {rows.table[ROW][text.is_null().arg_max() or 0]}")
    text, chosen = _split_pages(text, rows)
    parts = (text.slice(start, BATCH) for start in range(0, len(text), BATCH))
    names = pl.concat([_resolve_names(part, base) for part in parts]).with_columns(pages=chosen)
    if chosen.null_count() < len(chosen):  # the pages are part of the image's name
        suffix = pl.concat_str(pl.lit("#page="), "pages").fill_null("")
        names = names.with_columns(uri=pl.concat_str("uri", suffix))
    given, page = _document_names(rows.table["document"]), _page_numbers(rows)
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


def _split_pages(text: pl.Series, rows: Rows) -> tuple[pl.Series, pl.Series]:
    """Return the uris without `#page=`, and the chosen pages, null for all. Raises ManifestError."""
    column = _strip(rows.table["pages"])
    if column.null_count() == len(column) and not text.str.contains("#page=", literal=True).any():
        return text, column.alias("pages")
    behind = text.str.extract(PAGED, 2)
    for place in (column.is_not_null() | behind.is_not_null()).arg_true():
        where = f"{rows.unit} {rows.table[ROW][place]}"
        if column[place] is not None and behind[place] is not None:
            raise ManifestError(f"names pages twice in {where}: in the uri and in the column pages")
        try:
            parse_pages(column[place] or behind[place])
        except ValueError as error:
            raise ManifestError(
                f"has pages {quote_value(column[place] or behind[place])} in {where}: {error}"
            ) from None
    chosen = column.zip_with(column.is_not_null(), behind).str.replace_all(r"\s", "").str.strip_suffix(".0")
    plain = text.str.extract(PAGED, 1)
    return plain.zip_with(plain.is_not_null(), text), chosen.alias("pages")


def _strip(text: pl.Series) -> pl.Series:
    """Strip blanks; empty becomes null. Columns without blanks are not copied."""
    if text.null_count() < len(text) and text.str.contains(r"^\s|\s$|^$").any():
        return text.str.strip_chars().replace("", None)
    return text


def _resolve_names(text: pl.Series, base: Base) -> pl.DataFrame:
    """Return the columns `uri` and `address`: most texts are the uri, or a path below the manifest's folder."""
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
    others = pl.DataFrame(name_entries(text.gather(rest), base), {"uri": pl.String, "address": pl.String}, orient="row")
    known = frame.with_row_index("at").filter(pl.col("uri").is_not_null())
    return pl.concat([known, others.insert_column(0, rest.alias("at"))]).sort("at").drop("at")


def _document_names(given: pl.Series) -> pl.Series:
    """Return the documents' names, null where a row has none."""
    names = _strip(given)
    if not names.str.contains(_HIDES_URL).any():
        return names
    return pl.Series([name if name is None else redact_text(name) for name in names], dtype=pl.String)


def _page_numbers(rows: Rows) -> pl.Series:
    """Return the page numbers, null where a row has none. Raises ManifestError for anything but numbers from 1 on."""
    text = _strip(rows.table["page"])
    if text.null_count() == len(text):
        return text.cast(pl.Int64)
    bad = (~text.str.contains(WHOLE)).fill_null(value=False)
    if bad.any():
        place = bad.arg_max() or 0
        where = f"{rows.unit} {rows.table[ROW][place]}"
        raise ManifestError(f"has page {quote_value(text[place])} in {where}: use whole numbers from 1 on")
    return text.str.strip_chars_start("+").str.replace(r"\..*", "").cast(pl.Int64)


def _check_documents(table: pl.DataFrame, unit: str) -> None:
    """Raises ManifestError for documents whose pages have no order. `first` identifies the document."""
    unnamed = table.filter(pl.col("given").is_null())["first"]
    if len(unnamed):
        _refuse_twice(table.filter(pl.col("first").is_in(unnamed.implode())), ["first"], unit)
    _refuse_twice(table, ["first", "uri"], unit)
    paged = table.filter(pl.col("page").is_not_null())
    if not paged.height:
        return
    _refuse_twice(paged, ["first", "page"], unit)
    unpaged = table.filter(pl.col("page").is_null() & pl.col("first").is_in(paged["first"].implode()))
    if unpaged.height:
        row = unpaged.row(0, named=True)
        raise ManifestError(
            f"gives {quote_value(row['document'])} pages, but none in {unit} {row[ROW]}: number all or none"
        )


def _refuse_twice(table: pl.DataFrame, columns: list[str], unit: str) -> None:
    """Raises ManifestError when two rows are equal in these columns."""
    hashes = _hash_rows(table, columns)
    ordered = hashes.sort()
    often = ordered.filter(ordered == ordered.shift())  # comparing the texts would copy them all
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
    raise ManifestError(f"names {what} {quote_value(name)} twice, in {unit}s {first[ROW]} and {second[ROW]}")


def _hash_rows(table: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return a hash of these columns for each row."""
    return table.select(
        pl.sum_horizontal(pl.col(name).hash(seed) // 2 for seed, name in enumerate(columns))
    ).to_series()
