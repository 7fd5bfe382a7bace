"""record: calls go to the ledger at once; documents that ended are staged, then published as Parquet.

`ledger` does not import polars, and `tables` does not import SQLAlchemy.
"""
