"""record: what is paid goes into the ledger at once; what is done is staged, then published as Parquet, whole.

`ledger` needs no polars and `tables` no SQLAlchemy: whoever composes them imports the one that it needs.
"""
