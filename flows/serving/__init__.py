"""serving: the local Prefect server and the deployments that it serves."""
