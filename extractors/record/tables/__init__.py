"""tables: the Parquet tables: columns, rows, staging, publishing, and reading them back."""
