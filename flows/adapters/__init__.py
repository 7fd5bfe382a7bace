"""Adapters to Prefect: its API, secrets, artifacts, rate limits and shards."""
