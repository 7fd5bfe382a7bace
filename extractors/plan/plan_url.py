"""Paths and URLs of stored plans. It imports little, so that a wrong one is an error at once."""

from __future__ import annotations

from pathlib import Path

from extractors.core.errors import ConfigurationError, format_value

SUFFIX = ".parquet"


def split_plan_url(url: str) -> tuple[str, str]:
    """The output folder and the file's name. Raises ConfigurationError for what cannot be a plan."""
    folder, _, name = url.rpartition("/")
    if not folder or not name.endswith(SUFFIX):
        raise ConfigurationError(f"plan {format_value(url)} is not a plan file: name …/plans/<plan>.parquet")
    return folder, name


def check_plan_url(url: str) -> None:
    """Raises ConfigurationError for what cannot be a plan, or a local one that does not exist; a bucket is not asked."""
    split_plan_url(url)
    if "://" not in url and not Path(url).exists():
        raise missing_plan(url)


def missing_plan(url: str) -> ConfigurationError:
    """The error for a plan that does not exist."""
    return ConfigurationError(f"plan {format_value(url)} does not exist: `run --plan-only` stores one")
