"""output: where tables are written, a folder or a bucket."""
