"""Serving: the local Prefect server and its deployments."""
