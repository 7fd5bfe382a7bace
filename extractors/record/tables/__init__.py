"""tables: the Parquet tables: their columns, rows, staging and publishing, and reading them back."""
