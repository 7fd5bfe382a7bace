"""`tuning/<run>.parquet`: every labelled value of a tuning beside the value that was read, at each rung."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from extractors.record.output.base import writing
from extractors.record.tables.columns import FLAG, INT, MONEY, REAL, TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.record.output.base import Output
    from extractors.record.tables.columns import Columns
    from extractors.record.tables.rows import Row

COMPARISONS: Columns = {
    "run": TEXT,
    "document": TEXT,
    "schema": TEXT,
    "model": TEXT,
    "field": TEXT,
    "kind": TEXT,
    "rung": INT,
    "draw": TEXT,
    "accepted": FLAG,
    "right": FLAG,
    "similarity": REAL,
    "truth": TEXT,
    "read": TEXT,
    "read_null": FLAG,
    "true_null": FLAG,
    "rows": INT,
    "missing_rows": INT,
    "invented_rows": INT,
    "image_tokens": INT,
    "cost_usd": MONEY,
    "confidence": REAL,
    "score": REAL,
    "least": REAL,
    "mean": REAL,
    "first": REAL,
    "total": REAL,
    "length": INT,
    "not_null": REAL,
    "agreed": FLAG,
    "seen": REAL,
    "sharpness": REAL,
    "contrast": REAL,
}


def write_comparisons(output: Output, run: str, rows: Sequence[Row]) -> str:
    """Writes the file of a run; returns its full name. Raises OutputError."""
    key = f"tuning/{run}.parquet"
    with writing(output):
        output.write(key, pl.DataFrame(rows, schema=COMPARISONS, orient="row"))
    return output.full_name(key)


def write_label_list(output: Output, run: str, rows: Sequence[tuple[str, str]]) -> str:
    """Writes which documents to label next, each with how it was drawn; returns the full name. Raises OutputError."""
    key = f"tuning/{run}-label-next.csv"
    frame = pl.DataFrame(rows, schema={"uri": TEXT, "draw": TEXT}, orient="row")
    with writing(output):
        output.write_text(key, frame.write_csv())
    return output.full_name(key)
