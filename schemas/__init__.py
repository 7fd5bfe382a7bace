"""What a document is: one pydantic model per file."""
