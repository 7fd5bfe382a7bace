"""adapters: what Prefect is used for: its API, secrets, artifacts, rate limits and shards."""
