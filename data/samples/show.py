"""Prints the rows that a run has published: `python data/samples/show.py OUTPUT SCHEMA`."""

import sys
from pathlib import Path

import polars as pl

output, schema = sys.argv[1:]
folder = Path(output, "results", f"schema={schema}")
rows = pl.read_parquet(folder / "**" / "*.parquet")
# The current row of a document is the one that was extracted last.
current = rows.sort("_extracted_at").unique("_document", keep="last").sort("_document")
image = pl.col("_image").str.split("/").list.last().alias("image")
fields = [name for name, dtype in rows.schema.items() if not name.startswith("_") and not dtype.is_nested()]
shown = current.select(image, *fields, "_action", "_prompt_tokens")
with pl.Config(tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=24, tbl_width_chars=200, tbl_hide_column_data_types=True):
    print(shown)
print(f"{len(current)} rows in {folder}")
