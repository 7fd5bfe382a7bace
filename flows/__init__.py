"""Orchestration: the command, the Prefect flows, and what they show."""
