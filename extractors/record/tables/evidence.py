"""Totals of the evidence in rows of results: what the witness has seen, and what stands nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from extractors.core.evidence import MISSING_ROW, NOWHERE
from extractors.core.totals import WitnessTotals

if TYPE_CHECKING:
    from extractors.record.tables.rows import Row


def sum_witness(results: pl.LazyFrame | None) -> WitnessTotals:
    """The totals of these rows; the witness has looked at a document of which a value is judged, not at its copies.

    Blocks: call it in a thread.
    """
    if results is None:
        return WitnessTotals()
    own = results.filter(pl.col("_copied_from").is_null())
    cells = own.select("_document", "_evidence").explode("_evidence").unnest("_evidence").drop_nulls("page")
    sums = cells.select(
        documents=pl.col("_document").n_unique(),
        unseen=(pl.col("page") == NOWHERE).sum(),
        missing_rows=pl.col("field").str.ends_with(MISSING_ROW).sum(),
    )
    row: Row = sums.collect(engine="streaming").row(0, named=True)
    return WitnessTotals(**{name: int(str(count)) for name, count in row.items()})
