"""Erasure: the published and the staged files without the rows of documents that are to be forgotten.

Every file is replaced whole, so an erasure that was killed leaves readable tables, and the same erasure started again
finds the rest: `images`, which names every page, comes last.

| table                                              | what becomes of it                                     |
|----------------------------------------------------|--------------------------------------------------------|
| results, replies, failures, images, plans, tuning  | the document's rows go                                 |
| calls                                              | names, keys and errors are blanked, amounts stay       |
| fields                                             | `min` and `max` of the document's runs become null     |
| runs                                               | a source or an error that names the document is blanked |
| reports                                            | the pages of the document's runs are deleted           |
| lists of what to label next                        | are deleted: they name any document of a source        |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import orjson
import polars as pl

from extractors.record.tables import columns
from extractors.record.tables.history import DAYS

if TYPE_CHECKING:
    from collections.abc import Collection

    from extractors.record.output.base import Output

PATTERNS = {  # of published files; in the order in which they are replaced
    "fields": DAYS,
    "runs": DAYS,
    "plans": "*.parquet",
    "tuning": "*.parquet",
    "calls": DAYS,
    "replies": f"schema=*/{DAYS}",
    "failures": DAYS,
    "results": f"schema=*/{DAYS}",
    "images": DAYS,
}
_WITH_ROWS = ("plans", "tuning", "calls", "replies", "failures", "results", "images")  # of documents
_NAMES = ("_document", "_image", "document", "image")
_NUMBER = r"#page=\d+$"


@dataclass(slots=True)
class FoundRows:
    """What an output holds of documents: their names, rows by table, runs, pages of runs, and copies, which stay.

    `names` are the names that were given and the documents that have such a page.
    """

    names: frozenset[str]
    rows: Counter[str] = field(default_factory=Counter)
    runs: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    copies: set[str] = field(default_factory=set)
    reports: list[str] = field(default_factory=list)


def find_rows(output: Output, given: Collection[str]) -> FoundRows:
    """Find everything that an output holds of these documents and pages. Raises one of OUTPUT_ERRORS."""
    names = set(given)
    for table in ("failures", "results", "images"):
        for documents in output.map_files(partial(_read_documents, output, given), _list_files(output, table)):
            names |= documents
    found = FoundRows(frozenset(names))
    for table in _WITH_ROWS:
        for rows in output.map_files(partial(_read_rows, output, names), _list_files(output, table)):
            _add_rows(found, table, rows)
    copying = set(found.runs)
    for rows in output.map_files(partial(_read_copies, output, found), _list_files(output, "results")):
        found.copies.update(rows["_document"])
        copying.update(rows.filter("names")["_run"])
    pages = output.list_files("reports", "*.html")
    found.reports = [
        key for key in pages if key.rpartition("/")[2].removeprefix("tune-").removesuffix(".html") in copying
    ]
    # They name any document of their source, and the next tuning writes one anew.
    found.reports += output.list_files("tuning", "*-label-next.csv")
    return found


def erase_rows(output: Output, found: FoundRows) -> None:
    """Replace every file that holds rows of the documents, and delete the pages of their runs.

    Raises one of OUTPUT_ERRORS.
    """
    for key in found.reports:
        output.remove_file(key)
    for table, pattern in PATTERNS.items():
        for key in output.list_files(table, f"{pattern.removesuffix('.parquet')}.part"):  # left by a killed process
            output.remove_file(key)
        for key in _list_files(output, table):
            rows = output.scan([key])
            touched = _select_touched(rows, table, found)
            if rows.filter(touched).head(1).collect().height:
                output.write(key, _rewrite(rows, table, touched, found))


def covers(column: pl.Expr, names: Collection[str]) -> pl.Expr:
    """Whether a name is one of these, or a page of one of them: `file.pdf#page=3`."""
    known = sorted(names)
    return (column.is_in(known) | column.str.replace(_NUMBER, "").is_in(known)).fill_null(value=False)


def _list_files(output: Output, table: str) -> list[str]:
    """The published files of a table, and the staged parts of runs that have ended without publishing."""
    staged = output.list_files("staging", f"*/*/{table}-*.parquet")
    return [*output.list_files(table, PATTERNS[table]), *staged]


def _has_names(rows: pl.LazyFrame, names: Collection[str]) -> pl.Expr:
    """Whether a row is of one of these documents, or of one with such a page."""
    known = rows.collect_schema().names()
    covered = [covers(pl.col(name), names) for name in _NAMES if name in known]
    if "_pages" in known:
        covered.append(pl.col("_pages").list.eval(covers(pl.element(), names)).list.any())
    if "plan" in known:
        texts = [orjson.dumps(name).decode() for name in sorted(names)]
        covered += [pl.col("plan").str.contains(text, literal=True) for text in texts]
        covered += [pl.col("plan").str.contains(f"{text[:-1]}#page=", literal=True) for text in texts]
    return pl.any_horizontal(covered) if covered else pl.lit(value=False)


def _read_documents(output: Output, given: Collection[str], key: str) -> set[str]:
    rows = output.scan([key])
    document = "_document" if "_document" in rows.collect_schema() else "document"
    return set(rows.filter(_has_names(rows, given)).select(document).collect()[document])


def _read_rows(output: Output, names: Collection[str], key: str) -> pl.DataFrame:
    rows = output.scan([key])
    wanted = [name for name in ("_run", "run", "_key") if name in rows.collect_schema()]
    covered = rows.filter(_has_names(rows, names)).select(*wanted, number=pl.lit(1))
    return covered.rename({"_run": "run"} if "_run" in wanted else {}).collect()


def _add_rows(found: FoundRows, table: str, rows: pl.DataFrame) -> None:
    found.rows[table] += rows.height
    found.runs.update(rows["run"] if "run" in rows.columns else ())
    found.keys.update(rows["_key"] if "_key" in rows.columns else ())


def _read_copies(output: Output, found: FoundRows, key: str) -> pl.DataFrame:
    """Other documents with the same bytes; `names`: the row names a forgotten document as its original."""
    rows = output.scan([key], {name: columns.RESULTS[name] for name in ("_document", "_run", "_key", "_copied_from")})
    copied = covers(pl.col("_copied_from"), found.names)
    same = copied | pl.col("_key").is_in(sorted(found.keys))
    others = rows.filter(same & ~covers(pl.col("_document"), found.names))
    return others.select("_document", "_run", names=copied).collect()


def _select_touched(rows: pl.LazyFrame, table: str, found: FoundRows) -> pl.Expr:
    """The rows of a file that are removed or changed."""
    if table == "fields":
        return pl.col("run").is_in(sorted(found.runs)) & (pl.col("min").is_not_null() | pl.col("max").is_not_null())
    if table == "runs":
        texts = sorted(found.names)
        warned = pl.col("warnings").list.join(" ").str.contains_any(texts)
        named = covers(pl.col("source"), found.names) | pl.col("error").str.contains_any(texts) | warned
        return named.fill_null(value=False)
    covered = _has_names(rows, found.names)
    return covered | covers(pl.col("_copied_from"), found.names) if table == "results" else covered


def _rewrite(rows: pl.LazyFrame, table: str, touched: pl.Expr, found: FoundRows) -> pl.LazyFrame:
    """The rows of a file as they are without the documents."""
    if table == "fields":
        return rows.with_columns(pl.when(~touched).then(pl.col("min", "max")))
    if table == "calls":
        blank = pl.when(touched).then(pl.lit("")).otherwise(pl.col("document", "key"))
        return rows.with_columns(blank.name.keep(), pl.when(~touched).then(pl.col("error")))
    if table == "runs":
        return _blank_runs(rows, found.names)
    kept = rows.filter(~_has_names(rows, found.names))
    if table == "results":  # a copy stays one, and names its original no more
        copied = pl.when(covers(pl.col("_copied_from"), found.names)).then(pl.lit(""))
        return kept.with_columns(copied.otherwise(pl.col("_copied_from")).alias("_copied_from"))
    return kept


def _blank_runs(rows: pl.LazyFrame, names: Collection[str]) -> pl.LazyFrame:
    named, texts = covers(pl.col("source"), names), sorted(names)
    blank = [""] * len(texts)
    return rows.with_columns(
        pl.when(named).then(pl.lit("")).otherwise(pl.col("source")).alias("source"),
        pl.when(named).then(pl.lit("{}")).otherwise(pl.col("job")).alias("job"),
        pl.col("error").str.replace_many(texts, blank),
        pl.col("warnings").list.eval(pl.element().str.replace_many(texts, blank)),
    )
