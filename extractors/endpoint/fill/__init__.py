"""fill: a JSON schema and the words of a picture in, an answer that fits the schema out."""
