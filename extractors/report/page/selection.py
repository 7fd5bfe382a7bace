"""Selects and orders the documents of the report: failures first, then doubtful ones, then the rest.

Of more than `MOST_DOCUMENTS`, every failure is shown, then the doubtful ones, then a random sample of the rest, which is
the same each time that the page of a run is written.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.evidence import MISSING_ROW, NOWHERE
from extractors.record.tables import columns

if TYPE_CHECKING:
    from extractors.report.page.runs import RunTables

MOST_DOCUMENTS = 2_000
LOW_CONFIDENCE = 0.8  # below it, a document is doubtful where no stored tuning had a threshold
FAILED, DOUBTFUL, SURE = range(3)
_SCHEMA: columns.Columns = {
    "document": columns.TEXT,
    "failed": columns.FLAG,
    "attempts": columns.INT,
    "copied_from": columns.TEXT,
    "confidence": columns.REAL,
    "unseen": columns.FLAG,
    "missing": columns.FLAG,
}


@dataclass(frozen=True, slots=True)
class DocumentSelection:
    """The documents of the page in their order; `total` and `shown` count them by rank, from failures to sure ones.

    Those with a confidence below `doubtful_below` are doubtful.
    """

    documents: pl.DataFrame
    total: tuple[int, int, int] = (0, 0, 0)
    shown: tuple[int, int, int] = (0, 0, 0)
    doubtful_below: float = LOW_CONFIDENCE

    @property
    def is_partial(self) -> bool:
        """Whether documents are left out."""
        return sum(self.shown) < sum(self.total)


def select_documents(
    tables: RunTables, limit: int = MOST_DOCUMENTS, doubtful_below: float = LOW_CONFIDENCE
) -> DocumentSelection:
    """The documents of a run that its page shows, with the columns `climbed` and `rank` beside those of the tables."""
    ranked = _load_documents(tables, doubtful_below)
    parts = [ranked.filter(pl.col("rank") == rank) for rank in (FAILED, DOUBTFUL, SURE)]
    failed, doubtful, sure = parts
    doubtful = doubtful.head(max(0, limit - failed.height))
    sure = _draw_sample(sure, max(0, limit - failed.height - doubtful.height), tables.run)
    shown = (failed.height, doubtful.height, sure.height)
    total = (parts[0].height, parts[1].height, parts[2].height)
    return DocumentSelection(pl.concat([failed, doubtful, sure]), total, shown, doubtful_below)


def _load_documents(tables: RunTables, doubtful_below: float) -> pl.DataFrame:
    """Every document with a row of this run, the worst first."""
    failures = tables.rows("failures", columns.FAILURES).select(
        "document",
        pl.lit(value=True).alias("failed"),
        "attempts",
        pl.lit(None, columns.TEXT).alias("copied_from"),
        pl.lit(None, columns.REAL).alias("confidence"),
        pl.lit(value=False).alias("unseen"),
        pl.lit(value=False).alias("missing"),
    )
    ends = pl.concat([_select_results(tables), failures]).unique("document", keep="last")
    calls = tables.rows("calls", columns.CALLS).group_by("document")
    rungs = pl.col("rung").filter(pl.col("rung") > 0)  # 0: of an audit, which is no climb
    climbed = calls.agg((rungs.n_unique() > 1).alias("climbed"))
    doubtful = (
        pl.col("unseen")
        | pl.col("missing")
        | pl.col("climbed")
        | (pl.col("attempts") > 1)
        | (pl.col("confidence") < doubtful_below).fill_null(value=False)
    )
    rank = pl.when("failed").then(FAILED).when(doubtful).then(DOUBTFUL).otherwise(SURE).alias("rank")
    joined = ends.join(climbed, on="document", how="left").with_columns(pl.col("climbed").fill_null(value=False))
    order = ["rank", "unseen", "missing", "confidence", "climbed", "attempts", "document"]
    return (
        joined.with_columns(rank)
        .sort(order, descending=[False, True, True, False, True, True, False], nulls_last=True)
        .collect()
    )


def _select_results(tables: RunTables) -> pl.LazyFrame:
    results = tables.results()
    if results is None:
        return pl.LazyFrame(schema=_SCHEMA)
    known = results.collect_schema()
    confidence = pl.col("_confidence") if "_confidence" in known else pl.lit(None, columns.REAL)
    cells = pl.col("_evidence") if "_evidence" in known else pl.lit(None, columns.RESULTS["_evidence"])
    field, page = pl.element().struct.field("field"), pl.element().struct.field("page")
    return results.select(
        document="_document",
        failed=pl.lit(value=False),
        attempts="_attempts",
        copied_from="_copied_from",
        confidence=confidence.cast(columns.REAL),
        unseen=cells.list.eval(page == NOWHERE).list.any().fill_null(value=False),
        missing=cells.list.eval(field.str.ends_with(MISSING_ROW)).list.any().fill_null(value=False),
    )


def _draw_sample(documents: pl.DataFrame, count: int, seed: str) -> pl.DataFrame:
    if documents.height <= count:
        return documents
    return documents[sorted(random.Random(seed).sample(range(documents.height), count))]  # noqa: S311 - no secret
