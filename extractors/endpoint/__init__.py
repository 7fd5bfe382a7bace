"""The offline endpoint: real OCR behind the same wire as the API; it knows the wire and the tiles, nothing else."""
